#pragma once
/// protocols/base/result: how a function says that it failed.
///
/// Result<T> is std::expected<T, Error> that must not be dropped. Three audiences read an error: code switches on
/// Errc, the peer gets a generic reply that one function per protocol makes from Errc, the operator reads `context`
/// in the log. Exceptions mean a bug or no memory and are caught at the task group.
/// Threads: values only.
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace posthouse {

enum class Errc {
    invalid,         ///< the input breaks a grammar or a rule; the caller must change it
    not_found,       ///< the named thing does not exist
    already_exists,  ///< the name is taken
    too_large,       ///< over an octet limit
    limit,           ///< over a count or rate limit
    denied,          ///< known, but not allowed
    unauthenticated, ///< credentials are missing or wrong
    over_quota,      ///< the account's own limit is reached
    no_space,        ///< the disk is full or below its floor
    io,              ///< a read, write or sync failed
    corrupt,         ///< stored bytes do not check out
    timeout,         ///< the deadline passed
    closed,          ///< the peer ended the connection
    cancelled,       ///< the server is stopping
    refused,         ///< the peer refused the connection or the request
    unreachable,     ///< no route, no answer, no address
    tls,             ///< the TLS handshake or certificate check failed
    dns_temporary,   ///< no answer from DNS now, try again
    dns_bogus,       ///< DNSSEC validation failed
    conflict,        ///< changed in between (UNCHANGEDSINCE and the like)
    unsupported,     ///< understood, not offered
    unavailable,     ///< cannot be done now, try again
    internal,        ///< a bug
};

/// The name of the code as it stands in logs, e.g. "no_space".
std::string_view to_string(Errc code);

struct Error {
    Errc code = Errc::internal;
    std::string context;  ///< one plain sentence for the operator: what was tried and why it failed

    Error(Errc error_code, std::string what) : code(error_code), context(std::move(what)) {}
};

template <class T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
    using Base = std::expected<T, Error>;

 public:
    using Base::Base;
    Result(Error error) : Base(std::unexpect, std::move(error)) {}
    Result(Errc code, std::string context) : Base(std::unexpect, Error(code, std::move(context))) {}
};

#define POSTHOUSE_CAT_INNER(a, b) a##b
#define POSTHOUSE_CAT(a, b) POSTHOUSE_CAT_INNER(a, b)
#define POSTHOUSE_TRY(ret, var, decl, ...)                  \
    auto var = (__VA_ARGS__);                               \
    if (!var) ret ::posthouse::Error(std::move(var.error())); \
    decl = *std::move(var)
#define POSTHOUSE_TRY_VOID(ret, var, ...) \
    if (auto var = (__VA_ARGS__); !var) ret ::posthouse::Error(std::move(var.error()))

/// TRY(const Row row, tx.row(id)); returns the error from the enclosing function, or declares `row`.
#define TRY(decl, ...) POSTHOUSE_TRY(return, POSTHOUSE_CAT(try_result_, __COUNTER__), decl, __VA_ARGS__)
/// The same inside a coroutine.
#define CO_TRY(decl, ...) POSTHOUSE_TRY(co_return, POSTHOUSE_CAT(try_result_, __COUNTER__), decl, __VA_ARGS__)
/// For Result<void>: return the error, or go on.
#define TRY_VOID(...) POSTHOUSE_TRY_VOID(return, POSTHOUSE_CAT(try_result_, __COUNTER__), __VA_ARGS__)
#define CO_TRY_VOID(...) POSTHOUSE_TRY_VOID(co_return, POSTHOUSE_CAT(try_result_, __COUNTER__), __VA_ARGS__)

/// A broken invariant of our own: logs and aborts, in release too. Never used to judge a peer's input.
#define ASSERT(condition) \
    ((condition) ? static_cast<void>(0) : ::posthouse::assertion_failed(#condition, __FILE__, __LINE__))
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace posthouse
