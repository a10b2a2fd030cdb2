#include "server/listen/listen.h"

#include <fmt/format.h>

#include <map>

namespace posthouse::server {

Result<std::unique_ptr<Listeners>> Listeners::open(net::Loop& loop, std::vector<Door> doors, Metrics& metrics) {
    auto out = std::make_unique<Listeners>();
    for (Door& door : doors) {
        door.limits.turned_away = &metrics.counter("connections_turned_away_total", "Connections there was no room for",
                                                   fmt::format("service=\"{}\"", door.service));
        for (const net::Endpoint& endpoint : door.endpoints) {
            auto opened = net::Listener::open(loop, door.service, endpoint, door.limits, door.implicit_tls,
                                              door.over_limit, door.handler);
            if (!opened) {
                for (Entry& entry : out->entries_) entry.listener->stop();
                return Error(opened.error().code, fmt::format("{}: {}", door.service, opened.error().context));
            }
            out->entries_.push_back(Entry{door.service, *std::move(opened)});
        }
    }
    return out;
}

std::vector<Listeners::Open> Listeners::list() const {
    std::vector<Open> out;
    for (const Entry& entry : entries_) out.push_back({entry.service, entry.listener->local()});
    return out;
}

std::size_t Listeners::connections() const {
    std::size_t total = 0;
    for (const Entry& entry : entries_) total += entry.listener->connections();
    return total;
}

void Listeners::stop() {
    for (Entry& entry : entries_) entry.listener->stop();
}

void Listeners::cut() {
    for (Entry& entry : entries_) entry.listener->cut();
}

net::Task<void> Listeners::join() {
    for (Entry& entry : entries_) co_await entry.listener->join();
}

std::string format_ports(const std::vector<Listeners::Open>& open) {
    std::map<std::string, std::string> services;  // names and addresses of ours: nothing to escape
    for (const auto& [service, at] : open) {
        std::string& list = services[service];
        list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", at.to_string());
    }
    std::string out;
    for (const auto& [service, list] : services) {
        out += fmt::format("{}  \"{}\": [{}]", out.empty() ? "{\n" : ",\n", service, list);
    }
    return out.empty() ? "{}\n" : out + "\n}\n";
}

}  // namespace posthouse::server
