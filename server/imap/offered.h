#pragma once
/// server/imap/offered: the words of extensions within commands, for a client from which an extension was taken
/// (switches.h): they are refused as words that nobody knows. Each is asked for after the grammar has read it.
/// Errors: invalid, with a sentence for BAD.   Threads: the loop's.
#include <span>
#include <string_view>

#include "protocols/imap/fetch.h"
#include "protocols/imap/list.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/search.h"
#include "protocols/imap/search_return.h"
#include "protocols/imap/sort.h"
#include "server/imap/session.h"
#include "server/imap/status.h"

namespace posthouse::server::imap {

/// `capabilities`: one or several, divided by blanks, any of which will do; none: nothing is asked.
Result<> check_offered(const Session& session, std::string_view capabilities, std::string_view refusal);

/// A set as a command names it.
Result<posthouse::imap::SequenceSet> take_set(const Session& session, Cursor& args);

/// "$" (SEARCHRES).
Result<> check_offered(const Session& session, const posthouse::imap::SequenceSet& set);
Result<> check_offered(const Session& session, const posthouse::imap::FetchProgram& program,
                       const posthouse::imap::FetchModifiers& modifiers);
Result<> check_offered(const Session& session, const posthouse::imap::SearchProgram& program);
/// `extension`: what brings RETURN to this command, ESEARCH or ESORT.
Result<> check_offered(const Session& session, const posthouse::imap::SearchReturn& wanted, std::string_view extension);
Result<> check_offered(const Session& session, std::span<const posthouse::imap::SortCriterion> criteria);
Result<> check_offered(const Session& session, const posthouse::imap::ListProgram& program);
Result<> check_offered(const Session& session, const posthouse::imap::SelectParameters& parameters);
Result<> check_offered(const Session& session, std::span<const StatusItem* const> items);

}  // namespace posthouse::server::imap
