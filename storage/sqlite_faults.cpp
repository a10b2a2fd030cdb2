#include "storage/sqlite_faults.h"

#ifdef POSTHOUSE_FAIL_POINTS

#include <sqlite3.h>

#include <cerrno>
#include <mutex>
#include <utility>

#include "storage/fail_point.h"

namespace posthouse::storage {
namespace {

constexpr const char* kName = "posthouse-faulty";

// What the last failed call of this thread left in errno; 0: ask the system.
thread_local int t_error_number = 0;

sqlite3_vfs* real_vfs() { return sqlite3_vfs_find("unix"); }

/// SQLite allots szOsFile octets for this, the real file's room behind it.
struct File {
    sqlite3_file base;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + sizeof(File)); }
};

sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real(); }

/// `injected` as SQLite's own layer would tell it.
int failed(int injected, int rc) {
    t_error_number = injected;
    return rc == SQLITE_IOERR_WRITE && injected == ENOSPC ? SQLITE_FULL : rc;
}

int do_close(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
int do_read(sqlite3_file* file, void* into, int count, sqlite3_int64 offset) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-read"); e != 0) return failed(e, SQLITE_IOERR_READ);
    return real(file)->pMethods->xRead(real(file), into, count, offset);
}
int do_write(sqlite3_file* file, const void* octets, int count, sqlite3_int64 offset) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-write"); e != 0) {
        // The half that came through, as after a real failure.
        static_cast<void>(real(file)->pMethods->xWrite(real(file), octets, count / 2, offset));
        return failed(e, SQLITE_IOERR_WRITE);
    }
    return real(file)->pMethods->xWrite(real(file), octets, count, offset);
}
int do_truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-cut"); e != 0) return failed(e, SQLITE_IOERR_TRUNCATE);
    return real(file)->pMethods->xTruncate(real(file), size);
}
int do_sync(sqlite3_file* file, int flags) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-sync"); e != 0) return failed(e, SQLITE_IOERR_FSYNC);
    return real(file)->pMethods->xSync(real(file), flags);
}
int do_size(sqlite3_file* file, sqlite3_int64* size) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-size"); e != 0) return failed(e, SQLITE_IOERR_FSTAT);
    return real(file)->pMethods->xFileSize(real(file), size);
}
int do_lock(sqlite3_file* file, int level) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-lock"); e != 0) return failed(e, SQLITE_IOERR_LOCK);
    return real(file)->pMethods->xLock(real(file), level);
}
int do_unlock(sqlite3_file* file, int level) { return real(file)->pMethods->xUnlock(real(file), level); }
int do_check_lock(sqlite3_file* file, int* out) { return real(file)->pMethods->xCheckReservedLock(real(file), out); }
int do_control(sqlite3_file* file, int op, void* arg) {
    return real(file)->pMethods->xFileControl(real(file), op, arg);
}
int do_sector(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int do_traits(sqlite3_file* file) { return real(file)->pMethods->xDeviceCharacteristics(real(file)); }
int do_shm_map(sqlite3_file* file, int page, int octets, int extend, void volatile** out) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-map"); e != 0) return failed(e, SQLITE_IOERR_SHMSIZE);
    return real(file)->pMethods->xShmMap(real(file), page, octets, extend, out);
}
int do_shm_lock(sqlite3_file* file, int offset, int n, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}
void do_shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int do_shm_unmap(sqlite3_file* file, int remove) { return real(file)->pMethods->xShmUnmap(real(file), remove); }
int do_fetch(sqlite3_file* file, sqlite3_int64 offset, int count, void** out) {
    return real(file)->pMethods->xFetch(real(file), offset, count, out);
}
int do_unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
    return real(file)->pMethods->xUnfetch(real(file), offset, page);
}

constexpr sqlite3_io_methods kMethods = {3,         do_close,   do_read,     do_write,       do_truncate,  do_sync,
                                         do_size,   do_lock,    do_unlock,   do_check_lock,  do_control,   do_sector,
                                         do_traits, do_shm_map, do_shm_lock, do_shm_barrier, do_shm_unmap, do_fetch,
                                         do_unfetch};

int do_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    file->pMethods = nullptr;
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-open"); e != 0) return failed(e, SQLITE_CANTOPEN);
    const int rc = real_vfs()->xOpen(real_vfs(), name, real(file), flags, out_flags);
    if (real(file)->pMethods != nullptr) file->pMethods = &kMethods;
    return rc;
}
int do_delete(sqlite3_vfs*, const char* name, int sync) {
    if (const int e = POSTHOUSE_FAIL_ERRNO("db-remove"); e != 0) return failed(e, SQLITE_IOERR_DELETE);
    return real_vfs()->xDelete(real_vfs(), name, sync);
}
int do_last_error(sqlite3_vfs*, int count, char* text) {
    if (t_error_number != 0) return std::exchange(t_error_number, 0);
    return real_vfs()->xGetLastError(real_vfs(), count, text);
}

}  // namespace

const char* faulty_vfs() {
    static std::once_flag once;
    static sqlite3_vfs vfs;
    std::call_once(once, [] {
        // Everything that is not named here goes to the system's VFS as it is.
        vfs = *sqlite3_vfs_find("unix");
        vfs.zName = kName;
        vfs.pNext = nullptr;
        vfs.szOsFile += static_cast<int>(sizeof(File));
        vfs.xOpen = do_open;
        vfs.xDelete = do_delete;
        vfs.xGetLastError = do_last_error;
        sqlite3_vfs_register(&vfs, 0);
    });
    return kName;
}

}  // namespace posthouse::storage

#else

namespace posthouse::storage {

const char* faulty_vfs() { return nullptr; }

}  // namespace posthouse::storage

#endif
