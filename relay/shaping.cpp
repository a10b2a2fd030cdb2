// What is known of big sites before the first word from them. Connections and messages a connection are what they
// publish or what large senders agreed on; everything else is learned (relay/controller.h).
#include <algorithm>

#include "relay/schedule.h"

namespace posthouse::relay {

namespace {

struct Row {
    std::string_view site;  ///< a provider's name (site.cpp) or the end of a relay host's name
    std::size_t connections = 0;
    std::size_t messages = 0;  ///< a connection
    double rate = 0;           ///< transactions a second; 0: no limit known
};

constexpr Row kSites[] = {
    {"google", 5, 50, 0},
    {"yahoo", 20, 20, 0},
    {"apple", 10, 5, 0},
    {"comcast", 25, 100, 0},
    {"orange", 2, 100, 0},
    {"microsoft-consumer", 10, 100, 0},
    {"microsoft-365", 10, 100, 0},
    {"smtp.office365.com", 3, 100, 0.5},  // 3 connections, 30 messages a minute
    {"smtp.postmarkapp.com", 10, 1000, 0},
    {"smtp.sendgrid.net", 20, 5000, 0},
    {"amazonaws.com", 10, 500, 0},  // the quota of the account shows in its replies
    {"smtp.gmail.com", 3, 100, 0},
    {"smtp-relay.gmail.com", 10, 100, 0},
    {"smtp.emailit.com", 5, 100, 2},
};

}  // namespace

Shaping shaping_for(std::string_view site, std::size_t connections_max, std::size_t messages_max,
                    const storage::LaneLimit* by_hand) {
    Shaping out;
    out.window_max = connections_max;
    out.messages_per_connection = messages_max;
    for (const Row& row : kSites) {
        if (!storage::is_site(site, row.site)) continue;
        out.window_max = std::min(out.window_max, row.connections);
        out.messages_per_connection = std::min(out.messages_per_connection, row.messages);
        out.rate_max = row.rate;
        break;
    }
    if (by_hand != nullptr) {
        if (by_hand->connections_max != 0) out.window_max = by_hand->connections_max;
        if (by_hand->messages_max != 0) out.messages_per_connection = by_hand->messages_max;
        if (by_hand->minute_max != 0) out.rate_max = by_hand->minute_max / 60.0;
    }
    out.window_start = std::min(out.window_start, out.window_max);
    return out;
}

}  // namespace posthouse::relay
