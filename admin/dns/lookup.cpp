#include "admin/dns/lookup.h"

#include <fmt/format.h>

#include <algorithm>

namespace posthouse::admin {
namespace {

using Found = Result<std::vector<std::string>>;

net::Task<Found> ask_task(dns::Resolver& resolver, std::string type, std::string name) {
    std::vector<std::string> out;
    if (type == "MX") {
        auto answer = co_await resolver.mx(std::move(name));
        if (!answer) co_return Error(answer.error());
        for (const auto& mx : answer->records) out.push_back(fmt::format("{} {}.", mx.preference, mx.host));
    } else if (type == "CNAME") {
        auto answer = co_await resolver.cname(std::move(name));
        if (!answer) co_return Error(answer.error());
        out = answer->records;
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

// Ends what is asked once the budget is spent: then it fails, and `over` is set like after an answer.
net::Task<void> end_in_time(net::Loop& loop, dns::Resolver& resolver, std::chrono::milliseconds budget,
                            net::Event& over) {
    constexpr std::chrono::milliseconds kAgain{50};  // who asks for two things asks for the second now
    auto done = co_await over.wait_for(budget);
    while (!done) {
        resolver.interrupt();
        done = co_await over.wait_for(kAgain);
    }
    loop.stop();
}

net::Task<void> keep_state(dns::Resolver& resolver, dns::DnssecState& out, net::Event& over) {
    out = co_await resolver.test_dnssec();
    over.set();
}

std::string not_within(std::chrono::milliseconds budget) {
    return fmt::format("the DNS does not answer within {} s", std::chrono::duration<double>(budget).count());
}

RecordCheck unanswered(const DnsRecord& record, const Error& error, std::chrono::milliseconds budget) {
    RecordCheck out;
    out.wanted = record;
    out.sentence = error.code == Errc::cancelled ? not_within(budget) : error.context;
    return out;
}

// Questions that are asked at the same time.
struct Batch {
    explicit Batch(net::Loop& loop) : over(loop) {}
    std::size_t left = 0;
    net::Event over;
};

net::Task<void> check_one(dns::Resolver& resolver, DnsRecord record, std::chrono::milliseconds budget, Batch& batch,
                          const std::function<void(RecordCheck)>& tell) {
    const auto found = co_await ask_task(resolver, record.type, record.name);
    tell(found ? judge_record(record, *found) : unanswered(record, found.error(), budget));
    if (--batch.left == 0) batch.over.set();
}

// What the end of the budget cuts off stays as it was.
net::Task<void> answer_one(dns::Resolver& resolver, std::string type, std::string name, Found& into, Batch& batch) {
    auto found = co_await ask_task(resolver, std::move(type), std::move(name));
    if (found || found.error().code != Errc::cancelled) into = std::move(found);
    if (--batch.left == 0) batch.over.set();
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

std::vector<Found> Lookup::ask_all(const std::vector<Question>& questions, std::chrono::milliseconds budget) {
    std::vector<Found> out(questions.size(), Error(Errc::timeout, not_within(budget)));
    if (questions.empty()) return out;
    Batch batch(*loop_);
    batch.left = questions.size();
    net::TaskGroup group(*loop_);
    for (std::size_t i = 0; i < questions.size(); ++i) {
        group.spawn("admin.lookup", answer_one(*resolver_, questions[i].type, questions[i].name, out[i], batch));
    }
    group.spawn("admin.lookup.end", end_in_time(*loop_, *resolver_, budget, batch.over));
    loop_->run();
    while (group.size() != 0) loop_->poll();
    return out;
}

dns::DnssecState Lookup::test_dnssec(std::chrono::milliseconds budget) {
    dns::DnssecState out;
    const auto began = std::chrono::steady_clock::now();
    net::Event over(*loop_);
    net::TaskGroup group(*loop_);
    group.spawn("admin.dnssec", keep_state(*resolver_, out, over));
    group.spawn("admin.dnssec.end", end_in_time(*loop_, *resolver_, budget, over));
    loop_->run();
    while (group.size() != 0) loop_->poll();
    const bool late = std::chrono::steady_clock::now() - began >= budget;
    if (late && out.state == dns::Dnssec::unknown) out.why = not_within(budget);
    return out;
}

void Lookup::check(const std::vector<DnsRecord>& wanted, std::chrono::milliseconds budget,
                   const std::function<void(RecordCheck)>& tell) {
    Batch batch(*loop_);
    net::TaskGroup group(*loop_);
    const auto is_asked = [](const DnsRecord& record) {
        return record.type != "SRV";  // advice for clients; the resolver has no such question
    };
    batch.left = static_cast<std::size_t>(std::ranges::count_if(wanted, is_asked));
    if (batch.left == 0) return;
    for (const DnsRecord& record : wanted) {
        if (is_asked(record)) group.spawn("admin.lookup", check_one(*resolver_, record, budget, batch, tell));
    }
    group.spawn("admin.lookup.end", end_in_time(*loop_, *resolver_, budget, batch.over));
    loop_->run();
    while (group.size() != 0) loop_->poll();
}

std::vector<RecordCheck> Lookup::check(const std::vector<DnsRecord>& wanted) {
    std::vector<RecordCheck> out;
    check(wanted, kDnsBudget, [&](RecordCheck found) { out.push_back(std::move(found)); });
    const auto place = [&](const RecordCheck& one) {
        return std::ranges::find_if(wanted, [&](const DnsRecord& record) {
            return record.name == one.wanted.name && record.type == one.wanted.type && record.value == one.wanted.value;
        });
    };
    std::ranges::sort(out, {}, place);
    return out;
}

}  // namespace posthouse::admin
