#pragma once
/// storage/fail_point (internal): named places of the commit path where a test makes the process die or a call fail.
/// Without POSTHOUSE_FAIL_POINTS (release builds) both macros are nothing at all.
/// Threads: any; armed before the store is opened. A whole server is armed by the variable POSTHOUSE_FAIL_POINT of its
/// environment: "name:count:stop" or "name:count:kill", with ":microseconds" behind for a signal that comes later.
#include <string_view>

#ifdef POSTHOUSE_FAIL_POINTS
#define POSTHOUSE_FAIL_POINT(name) ::posthouse::storage::fail_point::pass(name)
/// 0, or the errno that the call at this place shall be taken to have given.
#define POSTHOUSE_FAIL_ERRNO(name) ::posthouse::storage::fail_point::errno_at(name)
#else
#define POSTHOUSE_FAIL_POINT(name) static_cast<void>(0)
#define POSTHOUSE_FAIL_ERRNO(name) 0
#endif

namespace posthouse::storage::fail_point {

/// SIGKILL to the own process at the `count`-th passing of `name` (from 1).
void arm_kill(std::string_view name, int count);
/// The calls at `name` ("*": any of POSTHOUSE_FAIL_ERRNO, counted together) fail with `error_number`, beginning with
/// the `count`-th, `times` of them.
void arm_errno(std::string_view name, int error_number, int count, int times);
void disarm();
/// How often `name` was passed since the last arming.
int passed(std::string_view name);

void pass(const char* name);
int errno_at(const char* name);

}  // namespace posthouse::storage::fail_point
