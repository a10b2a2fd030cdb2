#pragma once
/// protocols/imap/search: the SEARCH program (RFC 3501 6.4.4, 9; RFC 5032, 5182, 8474 6, 8514 4.3). Pure.
/// A key is one row: its name, the argument it takes and how a message is judged. Judging is three-valued: without the
/// content of a message, keys that need it answer `unknown`, so that the session first decides from its memory and
/// only what stays unknown is read. Texts match as substrings of the decoded, folded field or body.
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"
#include "protocols/imap/sequence_set.h"
#include "protocols/mime/search_text.h"

namespace posthouse::imap {

enum class Match { no, yes, unknown };

/// The content of one message, read when first asked for. Threads: one at a time.
class SearchContent {
 public:
    using Load = std::function<std::string()>;
    enum class Part { header, body };
    /// What an index kept of the message's mime::search_text(), valid until the next message is judged; or nothing.
    using LoadKept = std::function<std::optional<std::string_view>(Part)>;
    /// `header` gives the header block, `message` the whole; both may give nothing where reading failed.
    SearchContent(Load header, Load message, LoadKept kept = nullptr)
        : load_header_(std::move(header)), load_message_(std::move(message)), load_kept_(std::move(kept)) {}

    const std::string& header();       ///< as it was received
    std::string_view folded_header();  ///< mime::SearchText::header
    std::string_view folded_body();    ///< mime::SearchText::body

 private:
    Load load_header_;
    Load load_message_;
    LoadKept load_kept_;
    std::optional<std::string> header_;
    std::optional<std::string_view> folded_header_;
    std::optional<std::string_view> folded_body_;
    std::string own_header_;  // what the views show where nothing was kept
    std::string own_body_;
};

/// What the store alone knows of an entry; read for all messages at once, where a key asks for it.
struct SearchSaved {
    std::int64_t save_date_s = 0;  ///< Unix seconds
    std::uint64_t email = 0;       ///< what object_id.h writes; 0: none
};

struct SearchMessage {
    std::uint32_t number = 0;
    std::uint32_t uid = 0;
    std::uint8_t system_flags = 0;
    bool recent = false;
    std::span<const std::string> keywords;
    std::int64_t internal_date_s = 0;
    std::uint64_t size_octets = 0;
    std::uint64_t modseq = 0;
    const SearchSaved* saved = nullptr;
    SearchContent* content = nullptr;
};

struct SearchNode;
enum class SearchArgument {
    none,
    text,
    header_and_text,
    flag_keyword,
    date,
    number,
    modseq,
    interval,
    object_id,
    uid_set,
    one_key,
    two_keys
};
/// What of a message a key looks at beyond a session's memory: SearchSaved (`entry`), or its content, which an index
/// may narrow down before a message is read.
enum class SearchPlace { nowhere, entry, raw_header, field, body, text };

struct SearchKey {
    std::string_view name;
    SearchArgument argument = SearchArgument::none;
    Match (*judge)(const SearchNode& node, const SearchMessage& message) = nullptr;  ///< null: NOT, OR and lists
    std::string_view rfc;
    SearchPlace place = SearchPlace::nowhere;  ///< nowhere: judged from memory, or by the keys it holds
    std::string_view capability = "";          ///< what brings it; empty: IMAP4rev1
};

struct SearchNode {
    const SearchKey* key = nullptr;
    std::string field;  ///< HEADER
    std::string text;   ///< folded for search; a keyword as it came
    std::uint64_t number = 0;
    std::int64_t instant_s = 0;  ///< YOUNGER and OLDER: now less the interval, once resolved
    std::int32_t day = 0;
    SequenceSet set;
    std::vector<SequenceSet::Range> ranges;  ///< `set` resolved
    std::vector<std::size_t> children;       ///< NOT, OR and lists of keys: indices into the program
};

struct SearchProgram {
    std::vector<SearchNode> nodes;  ///< the last is the root: a list of keys that all must match
};

/// All keys, "(" lists and sequence sets apart.
std::span<const SearchKey> search_keys();

/// ["CHARSET" SP astring SP] search-key *(SP search-key). Errc::unsupported for a charset other than US-ASCII and
/// UTF-8, to be answered with NO [BADCHARSET ...].
Result<SearchProgram> take_search_program(Cursor& in, const Limits& limits = {});
/// charset 1*(SP search-key), as after SORT and THREAD (RFC 5256 5 search-criteria).
Result<SearchProgram> take_charset_and_program(Cursor& in, const Limits& limits = {});
/// What the sets and intervals of a program refer to.
struct SearchView {
    std::uint32_t exists = 0;
    std::uint32_t uid_max = 0;
    std::int64_t now_s = 0;
    std::span<const SequenceSet::Range> last_result;  ///< UIDs, resolved: what "$" stands for
};
/// Puts numbers for "*", "$" and intervals: once a command, before judging.
void resolve_sets(SearchProgram& program, const SearchView& view);
/// Whether a key needs SearchMessage::saved.
bool needs_saved(const SearchProgram& program);
/// Whether a key asks for mod-sequences, so that the answer tells the highest of what was found (RFC 7162 3.1.5).
bool asks_modseq(const SearchProgram& program);
/// Whether a set of message numbers is in it, "$" apart.
bool has_numbers(const SearchProgram& program);
/// The same keys, and a UID among `uids`, which are resolved.
SearchProgram restricted(SearchProgram program, std::vector<SequenceSet::Range> uids);
/// Message numbers made the UIDs they stand for now, so that the program outlives the next EXPUNGE (RFC 5267 4.3).
/// `uid_of` is asked for numbers up to `exists`. Resolved.
void fix_numbers(SearchProgram& program, std::uint32_t exists,
                 const std::function<std::uint32_t(std::uint32_t)>& uid_of);
/// Between what numbers and UIDs all matches lie, as far as the sets among the keys that must all hold tell. Resolved.
struct SearchSpan {
    SequenceSet::Range numbers{1, std::numeric_limits<std::uint32_t>::max()};
    SequenceSet::Range uids{1, std::numeric_limits<std::uint32_t>::max()};
};
SearchSpan span_of(const SearchProgram& program);
/// Kleene's logic over the program.
Match judge(const SearchProgram& program, const SearchMessage& message);

}  // namespace posthouse::imap
