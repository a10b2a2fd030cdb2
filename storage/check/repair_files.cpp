// Files that nothing refers to: each asked about again inside the write, since another process may have taken it up.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/check/files.h"
#include "storage/check/repair.h"
#include "storage/check/walk.h"

namespace posthouse::storage {
namespace {

constexpr const char* kAsideName = "fsck-aside";

/// By its row, or by a message whose segment lost its row.
Result<bool> is_referred_to(Tx& tx, std::int64_t segment) {
    Query q = context_of(tx).db.query(
        "SELECT EXISTS (SELECT 1 FROM segments WHERE id = ?1) OR EXISTS (SELECT 1 FROM messages WHERE segment = ?1)");
    TRY_VOID(q.bind(segment).row());
    return q.flag(0);
}

Result<> remove_segment_file(const Directory& directory, const std::string& name) {
    if (::unlinkat(directory.segments().get(), name.c_str(), 0) != 0 && errno != ENOENT) {
        return system_error(errno, fmt::format("cannot remove segments/{}", name));
    }
    return {};
}

/// Moves a file with messages out of the way.
Result<> put_aside(Repairer& repairer, const std::string& name) {
    const Directory& directory = directory_of(repairer.store);
    if (::mkdirat(directory.root().get(), kAsideName, 0700) != 0 && errno != EEXIST) {
        return system_error(errno, fmt::format("cannot make {}", kAsideName));
    }
    const std::string target = fmt::format("{}/{}", kAsideName, name);
    TRY_VOID(repairer.notes.note(fmt::format(
        "segments/{} was not known to mail.db but holds messages that were perhaps never acknowledged: moved to {}; "
        "fsck --recover {} --account ADDRESS brings them back",
        name, target, kAsideName)));
    if (::renameat(directory.segments().get(), name.c_str(), directory.root().get(), target.c_str()) != 0) {
        return system_error(errno, fmt::format("cannot move segments/{}", name));
    }
    return sync_directory(directory.root());
}

/// Out of the way where messages are in it, gone where none is.
Result<> clear_segment_file(Repairer& repairer, Tx& tx, std::int64_t segment) {
    TRY(const bool referred_to, is_referred_to(tx, segment));
    if (referred_to) return {};
    const std::string name = segment_name(segment);
    auto file = open_beneath(directory_of(repairer.store).segments(), name, O_RDONLY);
    if (!file && file.error().code == Errc::not_found) return {};
    if (!file) return Error(file.error());
    if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) return {};  // somebody fills it
    TRY(const std::uint64_t size, size_of(*file));
    SegmentWalk walk(*file, std::min(size, kFileHeaderOctets), size);
    if (walk.next()) return put_aside(repairer, name);
    return remove_segment_file(directory_of(repairer.store), name);
}

Result<> clear_tmp_file(Repairer& repairer, std::int64_t target) {
    const Descriptor& tmp = directory_of(repairer.store).tmp();
    for (const FoundFile& file : list_files(tmp)) {
        if (name_target(file.name) != target || file.age_seconds < kTmpOldSeconds) continue;
        if (::unlinkat(tmp.get(), file.name.c_str(), 0) != 0 && errno != ENOENT) {
            return system_error(errno, fmt::format("cannot remove tmp/{}", file.name));
        }
    }
    return {};
}

}  // namespace

Result<> repair_segment_row_left(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        {
            Query q = db.query("SELECT 1 FROM messages WHERE segment = ?1 LIMIT 1");
            TRY(const bool used, q.bind(target.a).row());
            if (used) continue;
        }
        // The file before its row, as the compactor does it: what a death leaves is the same again.
        TRY_VOID(remove_segment_file(directory_of(repairer.store), segment_name(target.a)));
        TRY_VOID(db.query("DELETE FROM segments WHERE id = ?1 AND sealed = 1").bind(target.a).run());
    }
    return {};
}

Result<> repair_orphan_file(Repairer& repairer, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        if (target.a == 0) continue;  // not a name of ours: not ours to touch
        TRY_VOID(clear_segment_file(repairer, tx, target.a));
    }
    return {};
}

Result<> repair_leftover_file(Repairer& repairer, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        if (target.a == kTmpTarget) {
            TRY_VOID(clear_tmp_file(repairer, target.b));
        } else {
            TRY_VOID(clear_segment_file(repairer, tx, target.a));
        }
    }
    return {};
}

}  // namespace posthouse::storage
