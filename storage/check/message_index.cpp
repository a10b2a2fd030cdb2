#include "storage/check/message_index.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace posthouse::storage {

Result<> MessageIndex::load(Connection& db) {
    rows_.clear();
    hint_ = 0;
    // The largest id is no count, but bounds the growth of the vector well enough.
    Query q = db.query(
        "SELECT id, segment, position, stored_octets, size_octets, refs FROM messages NOT INDEXED ORDER BY id");
    constexpr std::int64_t kMax = std::numeric_limits<std::uint32_t>::max();
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        MessageRow row;
        row.id = q.i64(0);
        const bool possible = q.i64(1) > 0 && q.i64(1) <= kMax &&
                              q.i64(2) >= static_cast<std::int64_t>(kFileHeaderOctets) && q.i64(3) >= 0 &&
                              q.i64(3) <= kMax && q.i64(4) >= 0 && q.i64(4) <= kMax;
        if (possible) {
            row.segment = q.u32(1);
            row.position = q.u64(2);
            row.stored_octets = q.u32(3);
        }
        row.size_octets = q.u32(4);
        row.refs = static_cast<std::int32_t>(std::clamp<std::int64_t>(q.i64(5), -kMax / 2, kMax / 2));
        rows_.push_back(row);
    }
    rows_.shrink_to_fit();
    return {};
}

MessageRow* MessageIndex::find(std::int64_t id) {
    if (hint_ < rows_.size() && rows_[hint_].id == id) return &rows_[hint_];
    if (hint_ + 1 < rows_.size() && rows_[hint_ + 1].id == id) return &rows_[++hint_];
    const auto found = std::ranges::lower_bound(rows_, id, {}, &MessageRow::id);
    if (found == rows_.end() || found->id != id) return nullptr;
    hint_ = static_cast<std::size_t>(found - rows_.begin());
    return &*found;
}

void MessageIndex::sort_by_place() {
    std::ranges::sort(rows_, {}, [](const MessageRow& row) { return std::tuple(row.segment, row.position, row.id); });
}

}  // namespace posthouse::storage
