#pragma once
/// storage/check/message_index (internal): what mail.db says about every message, 40 octets each, and how many places
/// were seen to name it. Built in one pass over `messages`, by id.
/// Threads: one.
#include <cstdint>
#include <optional>
#include <vector>

#include "storage/context.h"

namespace posthouse::storage {

struct MessageRow {
    std::int64_t id = 0;
    std::uint64_t position = 0;
    std::uint32_t segment = 0;  ///< 0: its row says an impossible place
    std::uint32_t stored_octets = 0;
    std::uint32_t size_octets = 0;
    std::int32_t refs = 0;   ///< places that name it, as its row says
    std::uint32_t seen = 0;  ///< places that were seen to name it
    std::uint64_t end() const { return position + kRecordHeaderOctets + stored_octets; }
};

class MessageIndex {
 public:
    Result<> load(Connection& db);
    /// Null where there is no such message. Fast where ids are asked in ascending order.
    MessageRow* find(std::int64_t id);
    std::vector<MessageRow>& rows() { return rows_; }
    const std::vector<MessageRow>& rows() const { return rows_; }
    /// Rows with impossible places come first; ends find().
    void sort_by_place();

 private:
    std::vector<MessageRow> rows_;
    std::size_t hint_ = 0;
};

}  // namespace posthouse::storage
