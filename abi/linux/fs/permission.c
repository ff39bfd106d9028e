/*
 * Permission: what the mode bits and capabilities allow, as path_resolution(7) and capabilities(7) tell it.
 *
 * The three values a check needs (mode, uid, gid) are asked of the file system once and remembered in the node,
 * under path_cache_lock, until they change: a walk over cached directories asks nobody. A generation keeps an answer
 * that was under way during a change from being remembered. Nodes marked NODE_NO_CACHE are asked every time.
 * No credentials (a kernel-only thread) means no limits.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"

static bool cred_capable(const struct cred *cred, int capability)
{
    return !cred || (cred->cap_effective >> capability & 1);
}

bool cred_in_group(const struct cred *cred, uint32_t gid)
{
    if (cred->fsgid == gid)
        return true;
    for (uint32_t i = 0; i < cred->group_count; i++)
        if (cred->groups[i] == gid)
            return true;
    return false;
}

static uint32_t class_bits(const struct node_owner *owner, const struct cred *cred)
{
    if (cred->fsuid == owner->uid)
        return owner->mode >> 6;
    if (cred_in_group(cred, owner->gid))
        return owner->mode >> 3;
    return owner->mode;
}

/* Capabilities may grant what the bits deny; executing a file still needs one execute bit. */
static bool capability_allows(const struct node_owner *owner, uint32_t mask, const struct cred *cred)
{
    bool directory = (owner->mode & LINUX_S_IFMT) == LINUX_S_IFDIR;

    if ((directory || !(mask & MAY_EXECUTE) || (owner->mode & 0111)) && cred_capable(cred, LINUX_CAP_DAC_OVERRIDE))
        return true;
    if (directory ? !(mask & MAY_WRITE) : mask == MAY_READ)
        return cred_capable(cred, LINUX_CAP_DAC_READ_SEARCH);
    return false;
}

static int owner_check(const struct node_owner *owner, uint32_t mask, const struct cred *cred)
{
    if (!cred || !mask || (class_bits(owner, cred) & mask) == mask || capability_allows(owner, mask, cred))
        return 0;
    return -EACCES;
}

static bool owner_recall_locked(struct node *node, struct node_owner *owner)
{
    owner->mode = node->owner_mode;
    owner->uid = node->owner_uid;
    owner->gid = node->owner_gid;
    return node->owner_known;
}

int node_owner(struct node *node, struct node_owner *owner)
{
    struct linux_stat_data stat;

    spin_lock(&path_cache_lock);
    bool known = owner_recall_locked(node, owner);
    uint32_t generation = node->owner_generation;
    spin_unlock(&path_cache_lock);
    if (known)
        return 0;
    int error = node->ops->get_attr(node, &stat);
    if (error)
        return error;
    *owner = (struct node_owner){.mode = stat.mode, .uid = stat.uid, .gid = stat.gid};
    spin_lock(&path_cache_lock);
    if (node->owner_generation == generation && !(node->flags & NODE_NO_CACHE)) {
        node->owner_mode = stat.mode;
        node->owner_uid = stat.uid;
        node->owner_gid = stat.gid;
        node->owner_known = true;
    }
    spin_unlock(&path_cache_lock);
    return 0;
}

void node_attr_changed(struct node *node)
{
    spin_lock(&path_cache_lock);
    node->owner_generation++;
    node->owner_known = false;
    spin_unlock(&path_cache_lock);
}

void node_names_changed(struct node *directory) { atomic32_add(&directory->answer_generation, 1); }

int node_set_attr(struct node *node, const struct node_attr *attr)
{
    int error = node->ops->set_attr ? node->ops->set_attr(node, attr) : -EPERM;

    if (attr->valid & (ATTR_MODE | ATTR_UID | ATTR_GID))
        node_attr_changed(node);
    return error;
}

static int decision(struct node *node, uint32_t mask, const struct cred *cred)
{
    return node->ops->permission && cred ? node->ops->permission(node, mask, cred) : DECISION_MODE_BITS;
}

int node_permission_for(struct node *node, uint32_t mask, const struct cred *cred)
{
    struct node_owner owner;
    int decided = decision(node, mask, cred);
    int error = decided > 0 ? node_owner(node, &owner) : decided;

    if (error || decided == DECISION_ALLOWED)
        return error;
    if (decided == DECISION_EXECUTE_BIT)
        return owner.mode & 0111 ? 0 : -EACCES;
    return owner_check(&owner, mask, cred);
}

bool node_decides(struct node *node) { return decision(node, 0, current_cred()) == DECISION_ALLOWED; }

int node_access(struct node *node, uint32_t mask) { return node->ops->access ? node->ops->access(node, mask) : 0; }

int node_permission(struct node *node, uint32_t mask) { return node_permission_for(node, mask, current_cred()); }

int node_search_locked(struct node *node, const struct cred *cred)
{
    struct node_owner owner;
    int decided = decision(node, MAY_EXECUTE, cred);

    if (decided <= 0)
        return decided;
    if (!owner_recall_locked(node, &owner))
        return 1;
    if ((owner.mode & 0111) == 0111)
        return 0;
    return owner_check(&owner, MAY_EXECUTE, cred);
}

bool node_owned_by_caller(struct node *node)
{
    const struct cred *cred = current_cred();
    struct node_owner owner;
    int decided = decision(node, 0, cred);

    if (decided <= 0)
        return decided == DECISION_ALLOWED;
    return !node_owner(node, &owner) && (!cred || cred->fsuid == owner.uid || cred_capable(cred, LINUX_CAP_FOWNER));
}

int node_may_remove(struct node *directory, struct node *node)
{
    const struct cred *cred = current_cred();
    struct node_owner in, of;
    int decided = decision(directory, MAY_WRITE | MAY_EXECUTE, cred);
    int error = decided > 0 ? node_owner(directory, &in) : decided;

    if (decided <= 0)
        return error;

    if (!error)
        error = owner_check(&in, MAY_WRITE | MAY_EXECUTE, cred);
    if (error || !(in.mode & LINUX_S_ISVTX) || !cred || cred->fsuid == in.uid)
        return error;
    error = node_owner(node, &of);
    if (error || cred->fsuid == of.uid || cred_capable(cred, LINUX_CAP_FOWNER))
        return error;
    return -EPERM;
}

int path_writable(struct path *path)
{
    if (!path->mount)
        return 0;
    return (path->mount->flags & MOUNT_READ_ONLY) || path->mount->fs->read_only ? -EROFS : 0;
}
