/* System V shared memory: keys, attachments, who counts them, removal while attached. */
#include "process_check.h"

#include <sys/ipc.h>
#include <sys/shm.h>

static struct shmid_ds show(int id)
{
    struct shmid_ds ds;

    memset(&ds, 0xaa, sizeof ds);
    CHECK(shmctl(id, IPC_STAT, &ds) == 0);
    return ds;
}

static int make(size_t size)
{
    int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);

    CHECK(id >= 0);
    return id;
}

static void keys_name_segments(void)
{
    key_t key = 0x48790000 + getpid() % 65536;
    int id = shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0640);

    CHECK(id >= 0);
    CHECK(shmget(key, 0, 0) == id && shmget(key, 5000, 0600) == id);
    CHECK_ERROR(shmget(key, 5001, 0), EINVAL);
    CHECK_ERROR(shmget(key, 100, IPC_CREAT | IPC_EXCL), EEXIST);
    struct shmid_ds ds = show(id);
    CHECK(ds.shm_segsz == 5000 && ds.shm_nattch == 0 && ds.shm_cpid == getpid() && ds.shm_lpid == 0);
    CHECK(ds.shm_perm.mode == 0640 && ds.shm_perm.uid == geteuid() && ds.shm_perm.cuid == geteuid() && ds.shm_perm.__key == key);
    CHECK(ds.shm_atime == 0 && ds.shm_dtime == 0 && ds.shm_ctime != 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_ERROR(shmget(key, 0, 0), ENOENT);
    CHECK_ERROR(shmctl(id, IPC_STAT, &ds), EINVAL);
    CHECK_ERROR(shmget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
    CHECK_ERROR(shmctl(-1, IPC_RMID, NULL), EINVAL);
}

static void two_attachments_see_each_other(void)
{
    int id = make(8192);
    char *one = shmat(id, NULL, 0), *two = shmat(id, NULL, 0), *view = shmat(id, NULL, SHM_RDONLY);

    CHECK(one != (void *)-1 && two != (void *)-1 && view != (void *)-1 && one != two);
    CHECK(show(id).shm_nattch == 3 && show(id).shm_lpid == getpid());
    strcpy(one + 4096, "here");
    CHECK(!strcmp(two + 4096, "here") && !strcmp(view + 4096, "here"));
    CHECK_ERROR(mprotect(view, 4096, PROT_READ | PROT_WRITE), EACCES);
    CHECK(shmdt(two) == 0 && shmdt(view) == 0);
    CHECK_ERROR(shmdt(two), EINVAL);
    CHECK_ERROR(shmdt(one + 1), EINVAL);
    CHECK_ERROR(shmdt(one + 4096), EINVAL);
    CHECK(show(id).shm_nattch == 1 && show(id).shm_dtime != 0);
    CHECK(shmdt(one) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static void places_are_checked(void)
{
    int id = make(4096);
    char *room = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(room != MAP_FAILED);
    CHECK_ERROR((intptr_t)shmat(id, room, 0), EINVAL); /* something is there */
    CHECK_ERROR((intptr_t)shmat(id, room + 4096 + 5, 0), EINVAL);
    CHECK_ERROR((intptr_t)shmat(id, NULL, SHM_REMAP), EINVAL);
    CHECK(shmat(id, room + 4096 + 5, SHM_RND | SHM_REMAP) == room + 4096);
    room[4096] = 1;
    CHECK(shmdt(room + 4096) == 0);
    CHECK(shmat(id, room + 4096, 0) == room + 4096);
    CHECK(munmap(room, 3 * 4096) == 0); /* that, too, ends the attachment */
    CHECK(show(id).shm_nattch == 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_ERROR((intptr_t)shmat(id, NULL, 0), EINVAL); /* another's id beside it may be anybody's */
}

static void a_middle_may_be_gone(void)
{
    int id = make(3 * 4096);
    char *at = shmat(id, NULL, 0);

    CHECK(at != (void *)-1 && munmap(at + 4096, 4096) == 0);
    CHECK(show(id).shm_nattch == 2);
    CHECK(shmdt(at) == 0 && show(id).shm_nattch == 0);
    CHECK_ERROR(msync(at + 8192, 4096, MS_ASYNC), ENOMEM);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void children_are_attached(void)
{
    int id = make(4096), ready[2], go[2];
    volatile int *word = shmat(id, NULL, 0);
    char byte;

    CHECK(word != (void *)-1 && pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        *word = 41;
        CHECK(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        CHECK(*word == 42);
        _exit(0); /* without shmdt */
    }
    CHECK(read(ready[0], &byte, 1) == 1 && *word == 41);
    CHECK(show(id).shm_nattch == 2);
    *word = 42;
    CHECK(write(go[1], "", 1) == 1);
    wait_exit(pid, 0);
    CHECK(show(id).shm_nattch == 1);
    CHECK(shmdt((void *)word) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(close(ready[i]) == 0 && close(go[i]) == 0);
}

static void a_removed_segment_lives_while_attached(void)
{
    key_t key = 0x48790000 + getpid() % 65536;
    int id = shmget(key, 4096, IPC_CREAT | 0600);
    char *at = shmat(id, NULL, 0);

    CHECK(id >= 0 && at != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_ERROR(shmget(key, 4096, 0), ENOENT);
    CHECK((show(id).shm_perm.mode & SHM_DEST) && show(id).shm_nattch == 1);
    strcpy(at, "still");
    char *again = shmat(id, NULL, 0);
    CHECK(again != (void *)-1 && !strcmp(again, "still"));
    CHECK(shmdt(at) == 0 && shmdt(again) == 0);
    struct shmid_ds ds;
    CHECK(shmctl(id, IPC_STAT, &ds) == -1 && (errno == EINVAL || errno == EIDRM));
}

static void permissions_hold(void)
{
    int id = make(4096);
    struct shmid_ds ds = show(id);

    ds.shm_perm.mode = 0444;
    CHECK(shmctl(id, IPC_SET, &ds) == 0 && (show(id).shm_perm.mode & 0777) == 0444);
    pid_t pid = geteuid() == 0 ? fork() : -1;
    if (pid == 0) {
        CHECK(setresgid(12345, 12345, 12345) == 0 && setresuid(12345, 12345, 12345) == 0);
        CHECK_ERROR((intptr_t)shmat(id, NULL, 0), EACCES);
        CHECK(shmat(id, NULL, SHM_RDONLY) != (void *)-1);
        CHECK_ERROR(shmctl(id, IPC_RMID, NULL), EPERM);
        _exit(0);
    }
    if (pid > 0)
        wait_exit(pid, 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void the_tables_can_be_listed(void)
{
    int id = make(4096), last;
    struct shm_info info;
    struct shminfo limits;
    struct shmid_ds ds;
    bool found = false;

    CHECK((last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info)) >= 0 && info.used_ids >= 1 && info.shm_tot >= 1);
    CHECK(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits) == last && limits.shmmin == 1);
    for (int i = 0; i <= last; i++)
        found |= shmctl(i, SHM_STAT, &ds) == id;
    CHECK(found);
    CHECK_ERROR(shmctl(id, 99, &ds), EINVAL);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

int main(void)
{
    keys_name_segments();
    two_attachments_see_each_other();
    places_are_checked();
    a_middle_may_be_gone();
    children_are_attached();
    a_removed_segment_lives_while_attached();
    permissions_hold();
    the_tables_can_be_listed();
    puts("shm ok");
}
