/*
 * What exec does to credentials: set-user-id and set-group-id files, and the capability rules (capabilities(7)).
 *
 * Files carry no capabilities here. A set-id bit counts for nothing on a nosuid mount or with no_new_privs.
 */
#include "abi/linux/exec.h"
#include "abi/linux/fs/vfs.h"

enum { SECURE_NO_ROOT = 1, SECURE_KEEP_CAPS = 16 };

static int apply_set_id(struct exec_image *image, struct cred *cred)
{
    struct file *file = image->program.file;
    struct linux_stat_data stat;

    if (current_thread()->no_new_privs || !file->path || (file->path->mount->flags & MOUNT_NO_SUID))
        return 0;
    int error = file_stat(file, &stat);
    if (error)
        return error;
    if (stat.mode & LINUX_S_ISUID)
        cred->euid = stat.uid;
    if ((stat.mode & (LINUX_S_ISGID | 0010)) == (LINUX_S_ISGID | 0010))
        cred->egid = stat.gid;
    return 0;
}

static void apply_capabilities(struct exec_image *image, struct cred *cred)
{
    const struct cred *old = current_cred();
    bool set_id = cred->euid != old->uid || cred->egid != old->gid;
    bool effective = false;
    uint64_t permitted = 0;

    if (!(cred->securebits & SECURE_NO_ROOT) && (cred->euid == 0 || cred->uid == 0)) {
        permitted = cred->cap_bounding | cred->cap_inheritable;
        effective = cred->euid == 0;
    }
    if (set_id)
        cred->cap_ambient = 0;
    cred->cap_permitted = permitted | cred->cap_ambient;
    cred->cap_effective = effective ? cred->cap_permitted : cred->cap_ambient;
    bool grew = (cred->cap_permitted & ~cred->cap_ambient) != 0;
    image->secure = set_id || (cred->uid != 0 && (effective || grew));
}

int exec_cred_prepare(struct exec_image *image)
{
    struct cred *cred = cred_copy(current_cred());

    if (!cred)
        return -ENOMEM;
    image->cred = cred;
    int error = apply_set_id(image, cred);
    if (error)
        return error;
    cred->suid = cred->fsuid = cred->euid;
    cred->sgid = cred->fsgid = cred->egid;
    apply_capabilities(image, cred);
    cred->securebits &= ~SECURE_KEEP_CAPS;
    image->readable = image->program.file->node && !node_permission(image->program.file->node, MAY_READ);
    return 0;
}
