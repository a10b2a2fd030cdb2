#pragma once
/// server/imap/answers: responses that several commands give. Threads: the loop's.
#include <span>
#include <string>
#include <vector>

#include "protocols/imap/fetch.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

/// As MYRIGHTS and its like tell them (commands_acl.cpp).
std::string format_rights(const Session& session, storage::Rights rights);

/// Untagged FETCH responses for these messages, in their order (commands_fetch.cpp). Errors: of the connection or a
/// read.
net::Task<Result<>> fetch_messages(Session& session, posthouse::imap::FetchProgram program,
                                   std::vector<std::uint32_t> numbers);

/// The LIST response of one mailbox, as SELECT gives it from IMAP4rev2 on (RFC 9051 6.3.2; commands_list.cpp).
net::Task<Result<>> tell_list(Session& session, std::string name);

/// VANISHED (EARLIER) for what was expunged of these UIDs since then (RFC 7162 3.2.10.1); what counts still is news.
net::Task<Result<>> tell_vanished(Session& session, std::vector<posthouse::imap::SequenceSet::Range> uids,
                                  ModSeq since);

/// OK to a command that expunged something, once all of it was told: with QRESYNC behind HIGHESTMODSEQ, which follows
/// what was told and never goes before it (RFC 7162 3.2.7, RFC 6851 4.4); where NOTIFY holds back what others changed
/// there is none. commands_select.cpp.
net::Task<Reply> expunged_ok(Session& session, NumbersAre are, std::string sentence);

}  // namespace posthouse::server::imap
