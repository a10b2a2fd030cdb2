#include "protocols/net/memory.h"

#include <algorithm>

#include "protocols/net/loop_impl.h"

namespace posthouse::net {

namespace {

constexpr std::size_t kPipeOctetsMax = 1024 * 1024;

// One direction. Both ends share it; `changed_*` wakes whoever waits there to look again.
struct Pipe {
    explicit Pipe(Loop& loop) : reader(loop), writer(loop) {}
    void wake() {
        reader.set();
        writer.set();
    }
    std::string octets;
    std::size_t at = 0;
    bool writer_gone = false;
    bool reader_gone = false;
    Event reader;
    Event writer;
};

// What the operations of one end need; they hold it, so that the end may be destroyed while one is pending.
struct End {
    End(Loop& loop, std::shared_ptr<Pipe> in_pipe, std::shared_ptr<Pipe> out_pipe)
        : in(std::move(in_pipe)), out(std::move(out_pipe)), timer(loop.impl().context) {}

    Result<> read_fault() const {
        if (closed) return Error(Errc::closed, "the connection is closed");
        if (timed_out) return Error(Errc::timeout, "the deadline passed");
        if (interrupted) return Error(Errc::cancelled, "the server is stopping");
        return {};
    }
    Result<> write_fault() const {
        if (closed || out->reader_gone) return Error(Errc::closed, "the connection is closed");
        if (timed_out) return Error(Errc::timeout, "the deadline passed");
        return {};
    }

    std::shared_ptr<Pipe> in;
    std::shared_ptr<Pipe> out;
    Timer timer;
    bool closed = false;
    bool bounded = false;
    bool timed_out = false;
    bool interrupted = false;
};

Task<Result<>> wait_readable_on(std::shared_ptr<End> end) {
    for (;;) {
        CO_TRY_VOID(end->read_fault());
        if (end->in->at < end->in->octets.size() || end->in->writer_gone) co_return Result<>();
        end->in->reader.reset();
        co_await end->in->reader.wait();
    }
}

Task<Result<std::size_t>> read_from(std::shared_ptr<End> end, std::span<char> into) {
    ASSERT(!into.empty());
    CO_TRY_VOID(co_await wait_readable_on(end));
    Pipe& pipe = *end->in;
    const std::string_view there = std::string_view(pipe.octets).substr(pipe.at, into.size());
    if (there.empty()) co_return Error(Errc::closed, "the peer ended the connection");
    there.copy(into.data(), there.size());
    pipe.at += there.size();
    if (pipe.at == pipe.octets.size()) {
        pipe.octets.clear();
        pipe.at = 0;
    }
    pipe.writer.set();
    co_return there.size();
}

Task<Result<>> write_to(std::shared_ptr<End> end, std::string_view octets) {
    Pipe& pipe = *end->out;
    for (;;) {
        CO_TRY_VOID(end->write_fault());
        const std::size_t room = kPipeOctetsMax - std::min(kPipeOctetsMax, pipe.octets.size() - pipe.at);
        const std::string_view piece = octets.substr(0, room);
        if (!piece.empty()) {
            pipe.octets.append(piece);
            octets.remove_prefix(piece.size());
            pipe.reader.set();
        }
        if (octets.empty()) co_return Result<>();
        pipe.writer.reset();
        co_await pipe.writer.wait();
    }
}

class MemoryStream final : public Stream {
 public:
    MemoryStream(std::shared_ptr<End> end, Endpoint local, Endpoint peer)
        : end_(std::move(end)), local_(local), peer_(peer) {}
    ~MemoryStream() override { close(); }

    Task<Result<>> wait_readable() override { return wait_readable_on(end_); }
    Task<Result<std::size_t>> read_some(std::span<char> into) override { return read_from(end_, into); }
    Task<Result<>> write_all(std::string_view octets) override { return write_to(end_, octets); }

    void expires_in(std::chrono::milliseconds span) override {
        end_->timed_out = false;
        end_->timer.cancel();
        end_->bounded = span.count() > 0;
        if (!end_->bounded) return;
        end_->timer.expires_after(span);
        end_->timer.async_wait([weak = std::weak_ptr(end_)](boost::system::error_code ec) {
            const auto end = weak.lock();
            // A handler that was already queued when the deadline moved must not fire for the new one.
            if (ec || !end || !end->bounded || end->timer.expiry() > std::chrono::steady_clock::now()) return;
            end->timed_out = true;
            end->in->wake();
            end->out->wake();
        });
    }

    Task<Result<>> start_tls_server(TlsServerContext&) override { return mark(TlsPeer("")); }
    Task<Result<>> start_tls_client(TlsClientContext&, TlsPeer expected) override { return mark(std::move(expected)); }
    const std::optional<TlsFacts>& tls() const override { return tls_; }
    Endpoint peer() const override { return peer_; }
    Endpoint local() const override { return local_; }

    void interrupt() override {
        end_->interrupted = true;
        end_->in->wake();
    }

    void close() override {
        if (end_->closed) return;
        end_->closed = true;
        end_->timer.cancel();
        end_->in->reader_gone = true;
        end_->out->writer_gone = true;
        end_->in->wake();
        end_->out->wake();
    }

 private:
    Task<Result<>> mark(TlsPeer expected) {
        CO_TRY_VOID(end_->read_fault());
        TlsFacts facts;
        facts.version = "TLSv1.3";
        facts.cipher = "TLS_AES_256_GCM_SHA384";
        facts.bits = 256;
        facts.peer_verified = !expected.server_name.empty();
        facts.dane = !expected.tlsa.empty();
        facts.server_name = std::move(expected.server_name);
        tls_ = std::move(facts);
        co_return Result<>();
    }

    std::shared_ptr<End> end_;
    Endpoint local_;
    Endpoint peer_;
    std::optional<TlsFacts> tls_;
};

}  // namespace

MemoryPair make_memory_pair(Loop& loop, Endpoint first_local, Endpoint peer) {
    const auto to_second = std::make_shared<Pipe>(loop);
    const auto to_first = std::make_shared<Pipe>(loop);
    MemoryPair pair;
    pair.first = std::make_unique<MemoryStream>(std::make_shared<End>(loop, to_first, to_second), first_local, peer);
    pair.second = std::make_unique<MemoryStream>(std::make_shared<End>(loop, to_second, to_first), peer, first_local);
    return pair;
}

}  // namespace posthouse::net
