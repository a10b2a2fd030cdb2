#pragma once
/// server/imap/fetch_facts: what FETCH asks the store of many messages at once, and what it hears.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "protocols/mime/body_text.h"
#include "protocols/mime/structure.h"
#include "server/imap/text_arena.h"
#include "storage/types.h"

namespace posthouse::server::imap {

/// How much of a message FETCH must know beyond the session's memory: always its row in the mailbox.
struct FactsOf {
    bool message = false;        ///< what was computed at arrival: envelope and header_octets
    bool tree = false;           ///< its MIME tree; with `message`, as the two below
    bool body = false;           ///< the text of BODY
    bool bodystructure = false;  ///< the text of BODYSTRUCTURE
    mime::Globals globals = mime::Globals::leaves;
};

struct FetchFacts {
    storage::Uid uid = 0;  ///< 0: the message is gone
    std::uint64_t email = 0;
    std::int64_t save_date_s = 0;
    std::uint64_t size_octets = 0;
    // As far as they were asked for; the texts lie in FetchedFacts.
    std::uint64_t header_octets = 0;
    std::string_view envelope;
    std::string_view body;
    std::string_view bodystructure;
    std::unique_ptr<const mime::Structure> structure;
};

/// What is known of many messages.
struct FetchedFacts {
    std::vector<FetchFacts> messages;  ///< parallel to the UIDs that were asked for
    TextArena texts;
};

}  // namespace posthouse::server::imap
