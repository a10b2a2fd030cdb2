#pragma once
/// tests/support/usual_mail: three weeks of figures, so that a place has something that is usual there.
#include "storage/context.h"
#include "storage/report_tally.h"
#include "tests/support/relay_house.h"

namespace posthouse::test {

/// A dozen letters a day went to that domain, by no relay.
inline void fill_usual(relay::House& house, const std::string& domain) {
    constexpr std::int64_t kDayMs = 86'400'000;
    const std::string recipient = "bob@" + domain;
    storage::ReportTally tally;
    for (int day = 1; day <= 21; ++day) {
        for (int i = 0; i < 12; ++i) {
            storage::CountedEvent event;
            event.kind = storage::EventKind::delivered;
            event.at = house.clock.now() - Milliseconds(day * kDayMs);
            event.recipient = recipient;
            storage::EventFacts facts;
            facts.way = "direct";
            facts.provider = "other";
            tally.count(event, facts);
        }
    }
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::ReportRowCount known;
        return storage::write_tally(storage::context_of(tx).db, tally, known, storage::Others::counted);
    }));
}

}  // namespace posthouse::test
