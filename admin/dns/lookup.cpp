#include "admin/dns/lookup.h"

#include <fmt/format.h>

namespace posthouse::admin {
namespace {

using Found = Result<std::vector<std::string>>;

net::Task<Found> ask_task(dns::Resolver& resolver, std::string type, std::string name) {
    std::vector<std::string> out;
    if (type == "MX") {
        auto answer = co_await resolver.mx(std::move(name));
        if (!answer) co_return Error(answer.error());
        for (const auto& mx : answer->records) out.push_back(fmt::format("{} {}.", mx.preference, mx.host));
    } else if (type == "TXT") {
        auto answer = co_await resolver.txt(std::move(name));
        if (!answer) co_return Error(answer.error());
        out = answer->records;
    } else {
        auto answer = co_await resolver.addresses(std::move(name));
        if (!answer) co_return Error(answer.error());
        for (const auto& address : answer->records) out.push_back(address.to_string());
    }
    co_return out;
}

net::Task<Found> ptr_task(dns::Resolver& resolver, net::IpAddress address) {
    auto answer = co_await resolver.ptr(address);
    if (!answer) co_return Error(answer.error());
    co_return answer->records;
}

net::Task<void> keep_state(dns::Resolver& resolver, dns::DnssecState& out, net::Loop& loop) {
    out = co_await resolver.test_dnssec();
    loop.stop();
}

// Spawned: keeps its result where the caller waits for it.
net::Task<void> keep_result(net::Task<Found> task, std::unique_ptr<Found>& out, net::Loop& loop) {
    auto found = co_await std::move(task);
    out = std::make_unique<Found>(std::move(found));
    loop.stop();
}

Found run(net::Loop& loop, net::Task<Found> task) {
    std::unique_ptr<Found> out;
    net::TaskGroup group(loop);
    group.spawn("admin.lookup", keep_result(std::move(task), out, loop));
    // The group's last task ends just before the loop does; what is left of it runs in poll().
    loop.run();
    while (group.size() != 0) loop.poll();
    if (!out) return Error(Errc::internal, "the question to the DNS was lost");
    return std::move(*out);
}

}  // namespace

Result<std::unique_ptr<Lookup>> Lookup::make(dns::ResolverOptions options) {
    std::unique_ptr<Lookup> out(new Lookup());
    TRY(out->resolver_, dns::make_unbound_resolver(*out->loop_, std::move(options)));
    return out;
}

Found Lookup::ask(const std::string& type, const std::string& name) {
    return run(*loop_, ask_task(*resolver_, type, name));
}

Found Lookup::ask_ptr(const net::IpAddress& address) { return run(*loop_, ptr_task(*resolver_, address)); }

dns::DnssecState Lookup::test_dnssec() {
    dns::DnssecState out;
    net::TaskGroup group(*loop_);
    group.spawn("admin.dnssec", keep_state(*resolver_, out, *loop_));
    loop_->run();
    while (group.size() != 0) loop_->poll();
    return out;
}

std::vector<RecordCheck> Lookup::check(const std::vector<DnsRecord>& wanted) {
    std::vector<RecordCheck> out;
    for (const DnsRecord& record : wanted) {
        if (record.type == "SRV") continue;  // advice for clients; the resolver has no such question
        const Found found = ask(record.type, record.name);
        if (found) {
            out.push_back(judge_record(record, *found));
            continue;
        }
        RecordCheck check;
        check.wanted = record;
        check.sentence = found.error().context;
        out.push_back(std::move(check));
    }
    return out;
}

}  // namespace posthouse::admin
