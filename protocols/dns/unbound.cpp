// The Resolver that asks for real. libunbound works on a thread of its own and writes a finished question to a pipe;
// the loop watches that pipe and collects the answers, so every line of this file but none of libunbound's runs on
// the loop's thread. A question is given up by our own deadline: libunbound itself may take 17 s over a dead server.
#include <fmt/format.h>
#include <unbound.h>

#include <deque>
#include <memory>
#include <unordered_set>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/base/log.h"
#include "protocols/dns/rdata.h"
#include "protocols/net/watch.h"

namespace posthouse::dns {

namespace {

// RFC 1035 3.2.2 and 3.2.4, RFC 3596 2.1, RFC 6698 7.1
enum class Type : int { a = 1, cname = 5, soa = 6, ptr = 12, mx = 15, txt = 16, aaaa = 28, tlsa = 52 };
constexpr int kClassIn = 1;
constexpr int kRcodeNoError = 0;
constexpr int kRcodeNxDomain = 3;
// The defaults (4 MB each) thrash at a few thousand signed names.
constexpr const char* kMessageCacheSize = "32m";
constexpr const char* kRecordCacheSize = "64m";
// A list longer than any honest one is cut rather than turned into work.
constexpr std::size_t kRecordsMax = 256;

struct FreeContext {
    void operator()(ub_ctx* context) const { ub_ctx_delete(context); }
};
struct FreeReply {
    void operator()(ub_result* reply) const { ub_resolve_free(reply); }
};
using Context = std::unique_ptr<ub_ctx, FreeContext>;
using Reply = std::unique_ptr<ub_result, FreeReply>;

// One question under way, held by the list in State and by the coroutine that waits.
struct Query {
    explicit Query(net::Loop& loop) : done(loop) {}
    net::Event done;
    int error = 0;
    Reply reply;
    int async_id = 0;
    bool interrupted = false;  // nobody waits for the answer any more
};

// What outlives the resolver where a question is still being waited for.
struct State {
    explicit State(net::Loop& on) : loop(on) {}

    net::Loop& loop;
    Context context;
    std::unique_ptr<net::DescriptorWatch> watch;
    std::unordered_set<std::shared_ptr<Query>> queries;

    // Places for kQueriesInFlightMax questions, given out in order of arrival.
    struct Waiter {
        Waiter(net::Loop& loop, std::size_t places) : ready(loop), wanted(places) {}
        net::Event ready;
        std::size_t wanted;
    };
    std::size_t places_free = kQueriesInFlightMax;
    std::deque<std::shared_ptr<Waiter>> waiting;

    void give_back(std::size_t places) {
        places_free += places;
        while (!waiting.empty() && waiting.front()->wanted <= places_free) {
            places_free -= waiting.front()->wanted;
            waiting.front()->ready.set();
            waiting.pop_front();
        }
    }
};

// Gives places back on every way out of a question, the destruction of its coroutine included.
class Places {
 public:
    Places(std::shared_ptr<State> state, std::size_t count) : state_(std::move(state)), count_(count) {}
    ~Places() { state_->give_back(count_); }
    Places(const Places&) = delete;
    Places& operator=(const Places&) = delete;

 private:
    std::shared_ptr<State> state_;
    std::size_t count_;
};

// Takes a question off the list on every way out. libunbound never calls back for a question that it was told to
// drop, and calls back on this thread only, so it may hold a plain pointer to the query.
class Asked {
 public:
    Asked(std::shared_ptr<State> state, std::shared_ptr<Query> query)
        : state_(std::move(state)), query_(std::move(query)) {
        state_->queries.insert(query_);
    }
    ~Asked() {
        state_->queries.erase(query_);
        const bool open = query_->interrupted || !query_->done.is_set();
        if (open && state_->context) ub_cancel(state_->context.get(), query_->async_id);
    }
    Asked(const Asked&) = delete;
    Asked& operator=(const Asked&) = delete;

 private:
    std::shared_ptr<State> state_;
    std::shared_ptr<Query> query_;
};

void on_answer(void* query_pointer, int error, ub_result* reply) {
    Query& query = *static_cast<Query*>(query_pointer);
    query.reply.reset(reply);
    query.error = error == 0 && reply == nullptr ? UB_NOMEM : error;
    query.done.set();
}

void collect_answers(State& state) {
    const int error = ub_process(state.context.get());
    if (error != 0) log::warn("dns", "collecting answers failed: {}", ub_strerror(error));
}

net::Task<Result<>> wait_for_places(std::shared_ptr<State> state, std::size_t count) {
    if (state->waiting.empty() && state->places_free >= count) {
        state->places_free -= count;
        co_return Result<>();
    }
    const auto waiter = std::make_shared<State::Waiter>(state->loop, count);
    state->waiting.push_back(waiter);
    // The event decides, not the timer: a place that was handed over in the same moment is ours.
    [[maybe_unused]] const auto waited = co_await waiter->ready.wait_for(kQueryMax);
    if (!state->context) co_return Error(Errc::cancelled, "the resolver is stopping");
    if (waiter->ready.is_set()) co_return Result<>();
    std::erase(state->waiting, waiter);
    co_return Error(Errc::dns_temporary, "too many DNS questions are under way");
}

// Sends the question off; the answer arrives at the query's event.
Result<std::unique_ptr<Asked>> start(const std::shared_ptr<State>& state, const std::shared_ptr<Query>& query,
                                     const std::string& name, Type type) {
    const int error = ub_resolve_async(state->context.get(), name.c_str(), static_cast<int>(type), kClassIn,
                                       query.get(), on_answer, &query->async_id);
    if (error != 0) {
        return Error(Errc::dns_temporary, fmt::format("asking for {} failed: {}", name, ub_strerror(error)));
    }
    return std::make_unique<Asked>(state, query);
}

// Rules 1 to 3 of resolver.h in their order: failure, bogus, then data or its absence.
Result<> judge(const std::string& name, const Query& query) {
    if (query.error != 0) {
        return Error(Errc::dns_temporary, fmt::format("asking for {} failed: {}", name, ub_strerror(query.error)));
    }
    const ub_result& reply = *query.reply;
    if (reply.bogus != 0) {  // the data may be there all the same: it must not be looked at
        const char* why = reply.why_bogus == nullptr ? "no reason given" : reply.why_bogus;
        return Error(Errc::dns_bogus, fmt::format("DNSSEC validation of {} failed: {}", name, why));
    }
    if (reply.rcode != kRcodeNoError && reply.rcode != kRcodeNxDomain) {
        return Error(Errc::dns_temporary, fmt::format("asking for {} was answered with rcode {}", name, reply.rcode));
    }
    return {};
}

net::Task<Result<>> finish(std::shared_ptr<State> state, std::shared_ptr<Query> query, std::string name) {
    if (!query->done.is_set()) {
        [[maybe_unused]] const auto waited = co_await query->done.wait_for(kQueryMax);
        if (!query->done.is_set()) {
            co_return Error(Errc::dns_temporary,
                            fmt::format("no answer for {} within {} s", name, kQueryMax.count() / 1000));
        }
    }
    if (!state->context || query->interrupted) co_return Error(Errc::cancelled, "the resolver is stopping");
    co_return judge(name, *query);
}

template <class Record, class Parse>
Answer<Record> read_answer(const std::string& name, const ub_result& reply, Parse parse) {
    Answer<Record> answer;
    answer.name_exists = reply.nxdomain == 0;
    answer.secure = reply.secure != 0;
    if (reply.canonname != nullptr) {
        auto canonical = normalise_name(reply.canonname);
        if (canonical && *canonical != name) answer.canonical = *std::move(canonical);
    }
    if (reply.havedata == 0) return answer;
    for (std::size_t i = 0; reply.data[i] != nullptr && i < kRecordsMax; ++i) {
        if (reply.len[i] < 0) continue;
        auto record = parse(std::string_view(reply.data[i], static_cast<std::size_t>(reply.len[i])));
        if (record) {
            answer.records.push_back(*std::move(record));
        } else {
            log::info("dns", "a record of {} is skipped: {}", name, record.error().context);
        }
    }
    return answer;
}

template <class Record, class Parse>
net::Task<Result<Answer<Record>>> ask(std::shared_ptr<State> state, std::string raw_name, Type type, Parse parse) {
    CO_TRY(const std::string name, normalise_name(raw_name));
    CO_TRY_VOID(co_await wait_for_places(state, 1));
    const Places places(state, 1);
    const auto query = std::make_shared<Query>(state->loop);
    CO_TRY(const auto asked, start(state, query, name, type));
    CO_TRY_VOID(co_await finish(state, query, name));
    co_return read_answer<Record>(name, *query->reply, parse);
}

// The two families' answers as one; what is missing in one may be there in the other.
Result<Answer<net::IpAddress>> join_families(Result<Answer<net::IpAddress>> v4, Result<Answer<net::IpAddress>> v6) {
    const bool v4_has_data = v4 && !v4->records.empty();
    const bool v6_has_data = v6 && !v6->records.empty();
    if (!v4 && !v6_has_data) return Error(std::move(v4.error()));
    if (!v6 && !v4_has_data) return Error(std::move(v6.error()));
    if (!v4) return v6;
    if (!v6) return v4;
    Answer<net::IpAddress> both = *std::move(v4);
    both.name_exists = both.name_exists || v6->name_exists;
    both.secure = both.secure && v6->secure;
    if (both.canonical.empty()) both.canonical = std::move(v6->canonical);
    both.records.insert(both.records.end(), v6->records.begin(), v6->records.end());
    return both;
}

net::Task<Result<Answer<net::IpAddress>>> ask_addresses(std::shared_ptr<State> state, std::string raw_name) {
    CO_TRY(const std::string name, normalise_name(raw_name));
    CO_TRY_VOID(co_await wait_for_places(state, 2));
    const Places places(state, 2);
    const auto v4_query = std::make_shared<Query>(state->loop);
    const auto v6_query = std::make_shared<Query>(state->loop);
    CO_TRY(const auto v4_asked, start(state, v4_query, name, Type::a));
    CO_TRY(const auto v6_asked, start(state, v6_query, name, Type::aaaa));
    const auto v4_end = co_await finish(state, v4_query, name);
    const auto v6_end = co_await finish(state, v6_query, name);
    Result<Answer<net::IpAddress>> v4 =
        v4_end ? Result<Answer<net::IpAddress>>(read_answer<net::IpAddress>(name, *v4_query->reply, parse_a))
               : Result<Answer<net::IpAddress>>(v4_end.error());
    Result<Answer<net::IpAddress>> v6 =
        v6_end ? Result<Answer<net::IpAddress>>(read_answer<net::IpAddress>(name, *v6_query->reply, parse_aaaa))
               : Result<Answer<net::IpAddress>>(v6_end.error());
    co_return join_families(std::move(v4), std::move(v6));
}

// Whoever waits for an answer is told that the resolver is stopping.
void end_questions(State& state) {
    for (const auto& query : state.queries) {
        if (query->done.is_set()) continue;
        query->interrupted = true;
        query->done.set();
    }
}

// Ends what is under way, for good.
void shut(State& state) {
    state.watch.reset();
    state.context.reset();  // ends libunbound's thread
    for (const auto& query : state.queries) query->done.set();
    for (const auto& waiter : state.waiting) waiter->ready.set();
    state.waiting.clear();  // nobody is given a place any more
}

// Options are final once the first name is asked for, so all of them are set here.
Result<> configure(ub_ctx* context, const ResolverOptions& options) {
    struct Setting {
        const char* key;
        const char* value;
        bool wanted;
    };
    const bool forwarding = !options.servers.empty();
    const Setting settings[] = {
        {"msg-cache-size:", kMessageCacheSize, true},
        {"rrset-cache-size:", kRecordCacheSize, true},
        {"do-not-query-localhost:", "no", options.ask_loopback},
        // The resolver of a private network knows the names of its addresses; libunbound would say there are none.
        {"unblock-lan-zones:", "yes", forwarding},
        {"insecure-lan-zones:", "yes", forwarding},
    };
    for (const Setting& setting : settings) {
        if (!setting.wanted) continue;
        if (const int error = ub_ctx_set_option(context, setting.key, setting.value); error != 0) {
            return Error(Errc::internal, fmt::format("libunbound refuses {} {}", setting.key, ub_strerror(error)));
        }
    }
    for (const std::string& server : options.servers) {
        if (const int error = ub_ctx_set_fwd(context, server.c_str()); error != 0) {
            return Error(Errc::invalid,
                         fmt::format("\"{}\" is no DNS server: write an address, or address@port", server));
        }
    }
    if (!options.trust_anchor_file.empty()) {
        if (const int error = ub_ctx_add_ta_file(context, options.trust_anchor_file.c_str()); error != 0) {
            return Error(Errc::invalid, fmt::format("the trust anchor file {} cannot be used: {}",
                                                    options.trust_anchor_file, ub_strerror(error)));
        }
    }
    return {};
}

Result<std::shared_ptr<State>> make_state(net::Loop& loop, const ResolverOptions& options) {
    auto state = std::make_shared<State>(loop);
    state->context.reset(ub_ctx_create());
    if (!state->context) return Error(Errc::internal, "libunbound did not start");
    ub_ctx* const context = state->context.get();
    ub_ctx_debugout(context, nullptr);  // what it has to say comes back with the answers
    TRY_VOID(configure(context, options));
    if (const int error = ub_ctx_async(context, 1); error != 0) {
        return Error(Errc::internal, fmt::format("libunbound has no threads: {}", ub_strerror(error)));
    }
    // Removing a zone makes libunbound read its settings now, so that a bad trust anchor file is an error at start.
    // The zone is one that it answers by itself (RFC 6761 6.2) and that tests serve.
    const char* const removed = options.ask_loopback ? "test." : "posthouse.invalid.";
    if (const int error = ub_ctx_zone_remove(context, removed); error != 0) {
        return Error(Errc::invalid,
                     fmt::format("libunbound refuses its settings ({}); is the trust anchor file {} right?",
                                 ub_strerror(error), options.trust_anchor_file));
    }
    const int descriptor = ub_fd(context);
    if (descriptor < 0) return Error(Errc::internal, "libunbound has no descriptor to watch");
    // The watch dies with the state it points to.
    state->watch =
        std::make_unique<net::DescriptorWatch>(loop, descriptor, [raw = state.get()] { collect_answers(*raw); });
    return state;
}

// Two contexts: libunbound cannot drop an anchor once the first name was asked for. The plain one is made only where
// DNSSEC turns out to be broken on the way.
struct Contexts {
    Contexts(net::Loop& on, ResolverOptions o) : loop(on), options(std::move(o)) {}

    const std::shared_ptr<State>& in_use() const {
        return status.state == Dnssec::broken && plain ? plain : validating;
    }

    net::Loop& loop;
    const ResolverOptions options;
    std::shared_ptr<State> validating;
    std::shared_ptr<State> plain;
    DnssecState status;
};

// What the zone of the trust anchor says about itself, as far as it arrives here with its signatures.
net::Task<DnssecState> probe(std::shared_ptr<State> state, std::string zone) {
    if (auto place = co_await wait_for_places(state, 1); !place) {
        co_return DnssecState(Dnssec::unknown, place.error().context);
    }
    const Places places(state, 1);
    const auto query = std::make_shared<Query>(state->loop);
    const auto asked = start(state, query, zone, Type::soa);
    if (!asked) co_return DnssecState(Dnssec::unknown, asked.error().context);
    const auto ended = co_await finish(state, query, zone);
    if (!ended && ended.error().code == Errc::dns_bogus) co_return DnssecState(Dnssec::broken, ended.error().context);
    if (!ended) co_return DnssecState(Dnssec::unknown, ended.error().context);
    if (query->reply->secure == 0) {
        co_return DnssecState(Dnssec::broken, fmt::format("the answer for {} is not validated", zone));
    }
    co_return DnssecState(Dnssec::working, "");
}

net::Task<DnssecState> test(std::shared_ptr<Contexts> contexts) {
    if (contexts->options.trust_anchor_file.empty()) {
        co_return DnssecState(Dnssec::off, "no trust anchor is configured");
    }
    auto found = co_await probe(contexts->validating, contexts->options.trust_anchor_zone);
    // No answer says nothing about signatures: what was known before stays.
    const bool keeps = found.state == Dnssec::unknown && contexts->status.state != Dnssec::unknown;
    if (keeps) co_return contexts->status;
    if (found.state == Dnssec::broken && !contexts->plain && contexts->validating->context) {
        ResolverOptions without = contexts->options;
        without.trust_anchor_file.clear();
        auto plain = make_state(contexts->loop, without);
        if (plain) {
            contexts->plain = *std::move(plain);
        } else {
            log::error("dns", "no second resolver: {}", plain.error().context);
        }
    }
    contexts->status = found;
    co_return found;
}

class UnboundResolver final : public Resolver {
 public:
    explicit UnboundResolver(std::shared_ptr<Contexts> contexts) : contexts_(std::move(contexts)) {}
    ~UnboundResolver() override {
        shut(*contexts_->validating);
        if (contexts_->plain) shut(*contexts_->plain);
    }

    net::Task<Result<Answer<MxRecord>>> mx(std::string name) override {
        return ask<MxRecord>(contexts_->in_use(), std::move(name), Type::mx, parse_mx);
    }
    net::Task<Result<Answer<net::IpAddress>>> addresses(std::string name) override {
        return ask_addresses(contexts_->in_use(), std::move(name));
    }
    net::Task<Result<Answer<std::string>>> txt(std::string name) override {
        return ask<std::string>(contexts_->in_use(), std::move(name), Type::txt, parse_txt);
    }
    net::Task<Result<Answer<std::string>>> ptr(net::IpAddress address) override {
        return ask<std::string>(contexts_->in_use(), reverse_name(address), Type::ptr, parse_name);
    }
    net::Task<Result<Answer<TlsaRecord>>> tlsa(std::string name) override {
        return ask<TlsaRecord>(contexts_->in_use(), std::move(name), Type::tlsa, parse_tlsa);
    }
    net::Task<Result<Answer<std::string>>> cname(std::string name) override {
        return ask<std::string>(contexts_->in_use(), std::move(name), Type::cname, parse_name);
    }
    void interrupt() override {
        end_questions(*contexts_->validating);
        if (contexts_->plain) end_questions(*contexts_->plain);
    }
    net::Task<DnssecState> test_dnssec() override { return test(contexts_); }
    DnssecState dnssec() const override { return contexts_->status; }

 private:
    std::shared_ptr<Contexts> contexts_;
};

}  // namespace

std::string anchor_zone(std::string_view anchor_file) {
    for (Cursor in(anchor_file); !in.at_end();) {
        Cursor line(in.take_until('\n'));
        in.take('\n');
        const std::string_view owner = line.take_while([](char c) { return ascii::is_printable(c) && c != ' '; });
        const bool is_record = ascii::find_ci(line.rest(), "DS") != std::string_view::npos ||
                               ascii::find_ci(line.rest(), "DNSKEY") != std::string_view::npos;
        if (!owner.empty() && owner.front() != ';' && is_record) return std::string(owner);
    }
    return ".";
}

Result<std::unique_ptr<Resolver>> make_unbound_resolver(net::Loop& loop, ResolverOptions options) {
    auto contexts = std::make_shared<Contexts>(loop, std::move(options));
    TRY(contexts->validating, make_state(loop, contexts->options));
    if (!contexts->options.trust_anchor_file.empty()) {
        contexts->status = DnssecState(Dnssec::unknown, "not tested yet");
    }
    return std::make_unique<UnboundResolver>(std::move(contexts));
}

}  // namespace posthouse::dns
