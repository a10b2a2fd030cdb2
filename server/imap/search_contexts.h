#pragma once
/// server/imap/search_contexts: searches of the selected mailbox whose results a client wants kept up to date
/// (CONTEXT=SEARCH, RFC 5267 4.3): ESEARCH responses with ADDTO and REMOVEFROM when a message comes, changes or goes.
/// Only what changed is judged again. Keys that time alone changes (YOUNGER) are not watched (RFC 5032 2).
/// Invariants  1. A context's results are what its client has been told.
///             2. REMOVEFROM for an expunged message comes before its EXPUNGE, ADDTO behind EXISTS.
/// Threads: the loop's.   Limits: search_contexts_max (protocols/imap/limits.h).
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/fetch.h"
#include "server/imap/finder.h"
#include "server/imap/selected.h"

namespace posthouse::server::imap {

class SearchContexts {
 public:
    bool empty() const { return contexts_.empty(); }
    std::size_t size() const { return contexts_.size(); }
    bool has(std::string_view tag) const;
    /// A search that ran as `program` and found `numbers`. The tag must be new.
    void add(std::string tag, const posthouse::imap::SearchProgram& program,
             std::optional<posthouse::imap::FetchProgram> fetch, std::span<const std::uint32_t> numbers, NumbersAre are,
             Selected& selected);
    void cancel(std::string_view tag, Selected& selected);
    void clear() { contexts_.clear(); }

    /// Appends REMOVEFROM for what of `gone` is about to be told as such, while its numbers still stand.
    void tell_gone(std::string& out, const Selected& selected, std::span<const Uid> gone);
    /// Messages that became results of a context that wants something told of new ones (RFC 5465 7).
    struct Won {
        posthouse::imap::FetchProgram fetch;
        std::vector<Uid> uids;
    };
    struct Changes {
        std::string responses;
        std::vector<Won> won;
    };
    /// Judges again what came or changed.
    net::Task<Result<Changes>> tell_changed(Access& access, Selected& selected);

 private:
    struct Context {
        std::string tag;
        posthouse::imap::SearchProgram program;  // knows UIDs only
        std::optional<posthouse::imap::FetchProgram> fetch;
        std::vector<Uid> results;  // ascending
        NumbersAre are = NumbersAre::uids;
    };
    std::vector<Context> contexts_;
};

}  // namespace posthouse::server::imap
