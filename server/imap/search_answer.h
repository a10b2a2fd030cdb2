#pragma once
/// server/imap/search_answer: what SEARCH, SORT and THREAD have in common around the finding: the program of a command
/// parsed and resolved, "$" kept, the ESEARCH response written. Threads: the loop's.
#include <vector>

#include "protocols/imap/search_return.h"
#include "server/imap/finder.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

/// What a searching command asks for, ready to be run on the selected mailbox.
struct SearchRequest {
    posthouse::imap::SearchReturn wanted;
    SharedProgram program;  ///< null: NO [BADCHARSET ...]
};
enum class Charset { optional, demanded };
/// The rest of a command from its criteria on: [CHARSET] search-key *(SP search-key), or with `demanded` charset
/// search-key... (RFC 5256 5). Where SAVE was asked for, what was saved is lost from here on: nothing comes to be saved
/// by a search that fails (RFC 5182 2.1).
Result<SearchRequest> take_search(Session& session, posthouse::imap::SearchReturn wanted, Cursor& args,
                                  Charset charset);
Reply bad_charset();
/// After UTF8=ACCEPT a charset says nothing or contradicts: Errc::invalid. Where the grammar demands one it is UTF-8
/// (RFC 9755 3).
Result<> check_charset(const Session& session, Cursor args, Charset charset);

/// The highest mod-sequence of what is told of `found`, in its order, where the program asks for mod-sequences and
/// something was found; else 0 (RFC 7162 3.1.5, 3.1.9, 3.1.10; RFC 4731 3.2).
ModSeq modseq_of(const Selected& selected, const posthouse::imap::SearchProgram& program,
                 const posthouse::imap::SearchReturn& wanted, const std::vector<std::uint32_t>& found);

/// The untagged ESEARCH response to the running command, where one is due, with a mod-sequence that is not 0. `results`
/// in their order, as numbers.
void answer_extended(Session& session, const posthouse::imap::SearchReturn& wanted,
                     const std::vector<std::uint32_t>& results, NumbersAre are, ModSeq modseq = 0);
/// Likewise of any mailbox, named in it (RFC 7377 2.1); nothing where nothing was found.
void answer_mailbox(Session& session, const posthouse::imap::SearchReturn& wanted, const Selected& mailbox,
                    const std::vector<std::uint32_t>& found, ModSeq modseq);
/// UPDATE: what changes in the results of the running command is told from now on, or NOUPDATE is (RFC 5267 4.3).
void keep_updated(Session& session, const posthouse::imap::SearchProgram& program,
                  const posthouse::imap::SearchReturn& wanted, const std::vector<std::uint32_t>& found, NumbersAre are);
/// The untagged NO for a search that is not kept up to date (RFC 5267 4.3.1).
void refuse_updates(Session& session, std::string_view reason);
/// Numbers, or in their place the UIDs of the same messages.
std::vector<std::uint32_t> told_as(const Selected& selected, std::vector<std::uint32_t> numbers, NumbersAre are);
/// " 1 2 3".
void append_numbers(std::string& out, const std::vector<std::uint32_t>& numbers);

/// What is known of `numbers`, for Access::sort() and thread(); `are` says how they are told.
std::vector<ListedLine> listed_lines(const Selected& selected, std::span<const std::uint32_t> numbers, NumbersAre are);
/// Messages a turn on the pool.
inline constexpr std::size_t kListedBatch = 4096;

}  // namespace posthouse::server::imap
