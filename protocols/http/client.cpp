#include "protocols/http/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/net/buffered_stream.h"
#include "protocols/net/network.h"

namespace posthouse::http {

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kConnectMax{10'000};  // then the next address; who is there answers sooner
constexpr int kContinueMax = 4;  // 1xx answers ahead of the real one (RFC 9110 15.2)

Milliseconds left_until(Clock::time_point end) { return std::chrono::duration_cast<Milliseconds>(end - Clock::now()); }

// A stream in the owner's set for as long as it is in use.
class Listed {
 public:
    Listed(std::set<net::Stream*>* list, net::Stream* stream) : list_(list), stream_(stream) {
        if (list_ != nullptr) list_->insert(stream_);
    }
    ~Listed() {
        if (list_ != nullptr) list_->erase(stream_);
    }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;

 private:
    std::set<net::Stream*>* list_;
    net::Stream* stream_;
};

// Whether it may be dialled at all.
Result<> check_address(const Deps& deps, const Request& request, const net::IpAddress& address) {
    const bool named = std::ranges::any_of(deps.allowed_networks, [&](const std::string& network) {
        return net::network_holds(network, address);
    });
    if (named || (deps.allow_private && !request.plain)) return {};
    if (request.plain) {
        return Error(Errc::denied, fmt::format("without TLS nothing is sent to {}: it is not in an allowed network",
                                               address.to_string()));
    }
    if (address.is_public()) return {};
    return Error(Errc::denied,
                 fmt::format("{} has the address {}, which is not a public one", request.host, address.to_string()));
}

net::Task<Result<>> secure(const Deps& deps, const Request& request, net::Stream& stream) {
    const auto begun = co_await stream.start_tls_client(*deps.tls, net::TlsPeer(request.host));
    if (!begun) co_return Error(begun.error());
    const auto& facts = stream.tls();
    if (!facts || !facts->peer_verified) {
        co_return Error(Errc::tls, facts ? facts->verify_error : "no TLS was agreed");
    }
    co_return Result<>();
}

net::Task<Result<std::vector<net::IpAddress>>> addresses_of(const Deps& deps, const Request& request) {
    if (request.address) co_return std::vector<net::IpAddress>{*request.address};
    auto found = co_await deps.resolver->addresses(request.host);
    if (!found) co_return Error(found.error());
    co_return std::move(found->records);
}

net::Task<Result<std::unique_ptr<net::Stream>>> connect(const Deps& deps, const Request& request,
                                                        Clock::time_point end) {
    const auto found = co_await addresses_of(deps, request);
    if (!found) co_return Error(found.error());
    Error last(Errc::not_found, fmt::format("{} has no address", request.host));
    for (std::size_t i = 0; i < found->size() && i < kAddressesMax; ++i) {
        const net::IpAddress& address = (*found)[i];
        if (const auto allowed = check_address(deps, request, address); !allowed) {
            last = allowed.error();
            continue;
        }
        net::DialOptions options;
        options.connect_max = std::min(kConnectMax, left_until(end));
        if (options.connect_max <= Milliseconds(0)) co_return Error(Errc::timeout, "there was no answer in time");
        const net::Endpoint to(address, request.port);
        auto stream = co_await deps.dialer->dial(to, options);
        if (!stream) {
            last = stream.error();
            continue;
        }
        const Milliseconds left = left_until(end);
        if (left <= Milliseconds(0)) co_return Error(Errc::timeout, "there was no answer in time");
        (*stream)->expires_in(left);
        if (request.plain) co_return *std::move(stream);
        const Listed listed(deps.open, stream->get());
        CO_TRY_VOID(co_await secure(deps, request, **stream));
        co_return *std::move(stream);
    }
    co_return last;
}

net::Task<Result<>> read_fields(net::BufferedStream& stream, Fields& into) {
    std::size_t octets = 0;
    for (;;) {
        const auto line = co_await stream.read_line(kHeadOctetsMax);
        if (!line) co_return Error(line.error());
        octets += line->size();
        if (line->empty()) co_return Result<>();
        if (octets > kHeadOctetsMax || into.size() >= kFieldsMax) {
            co_return Error(Errc::too_large, "the head of the answer is too long");
        }
        CO_TRY(auto field, parse_field_line(*line));
        into.push_back(std::move(field));
    }
}

net::Task<Result<>> read_exactly(net::BufferedStream& stream, std::uint64_t octets, std::string& into) {
    while (octets > 0) {
        const std::size_t most = static_cast<std::size_t>(std::min<std::uint64_t>(octets, 64UL * 1024));
        const auto piece = co_await stream.read_some(most);
        if (!piece) co_return Error(piece.error());
        into += *piece;
        octets -= piece->size();
    }
    co_return Result<>();
}

// chunked-body = *chunk last-chunk trailer-section CRLF                    RFC 9112 7.1
net::Task<Result<>> read_chunks(net::BufferedStream& stream, std::size_t octets_max, std::string& into) {
    for (;;) {
        const auto line = co_await stream.read_line(kHeadOctetsMax);
        if (!line) co_return Error(line.error());
        CO_TRY(const std::uint64_t size, parse_chunk_size(*line));
        if (size == 0) break;
        if (size > octets_max - into.size()) co_return Error(Errc::too_large, "the answer is too long");
        CO_TRY_VOID(co_await read_exactly(stream, size, into));
        const auto end = co_await stream.read_line(kHeadOctetsMax);
        if (!end) co_return Error(end.error());
        if (!end->empty()) co_return Error(Errc::invalid, "a chunk of the answer is longer than its size");
    }
    Fields trailer;  // read, and of no use to anybody
    co_return co_await read_fields(stream, trailer);
}

net::Task<Result<Response>> read_response(net::BufferedStream& stream, const Request& request, const Limits& limits) {
    for (int i = 0; i < kContinueMax; ++i) {
        Response out;
        const auto line = co_await stream.read_line(kHeadOctetsMax);
        if (!line) co_return Error(line.error());
        CO_TRY(out.status, parse_status_line(*line));
        CO_TRY_VOID(co_await read_fields(stream, out.fields));
        if (out.status < 200) continue;
        if (!limits.wants_body) co_return out;
        CO_TRY(const Framing framing, framing_of(out, request.method));
        if (framing.chunked) {
            CO_TRY_VOID(co_await read_chunks(stream, limits.body_octets_max, out.body));
            co_return out;
        }
        if (!framing.octets) co_return Error(Errc::unsupported, "the answer does not say how long it is");
        if (*framing.octets > limits.body_octets_max) co_return Error(Errc::too_large, "the answer is too long");
        CO_TRY_VOID(co_await read_exactly(stream, *framing.octets, out.body));
        co_return out;
    }
    co_return Error(Errc::invalid, "there is no end of interim answers");
}

}  // namespace

net::Task<Result<Response>> exchange(Deps deps, Request request, Limits limits) {
    const Clock::time_point end = Clock::now() + limits.time_max;
    CO_TRY(const std::string head, format_head(request));
    CO_TRY(auto connected, co_await connect(deps, request, end));
    const Listed listed(deps.open, connected.get());
    net::BufferedStream stream(std::move(connected));
    stream.put(head);
    stream.put(request.body);
    const auto sent = co_await stream.flush();
    auto response = co_await read_response(stream, request, limits);
    stream.raw().close();
    // A server that answers before it has read all (413) counts; where there is no answer, the first fault does.
    if (!response && !sent) co_return Error(sent.error());
    co_return response;
}

}  // namespace posthouse::http
