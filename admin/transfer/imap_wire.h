#pragma once
/// admin/transfer/imap_wire: octets and responses of one IMAP connection, waiting. An import does one thing after the
/// other on a thread of its own, so its dialogue is written as plain calls; each runs the loop until it has an answer.
/// Invariants  1. Nothing waits longer than silence_max, and Ctrl-C is noticed within half a second.
///             2. After an error the connection is of no use any more.
/// Threads: one, which runs `loop` here and nowhere else.
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/imap/client_response.h"
#include "protocols/net/loop.h"
#include "protocols/net/stream.h"

namespace posthouse::transfer {

// Spawned by run_to_end: keeps the result where it waits.
template <class T>
net::Task<void> keep_result(net::Task<Result<T>> task, std::optional<Result<T>>& out, net::Loop& loop) {
    try {
        out.emplace(co_await std::move(task));
    } catch (const std::exception& e) {
        out.emplace(Error(Errc::internal, std::string("the connection broke: ") + e.what()));
    }
    loop.stop();
}

/// Runs `task` on `loop` to its end, on this thread.
template <class T>
Result<T> run_to_end(net::Loop& loop, net::Task<Result<T>> task) {
    std::optional<Result<T>> out;
    net::TaskGroup group(loop);
    group.spawn("transfer.imap", keep_result(std::move(task), out, loop));
    loop.run();
    while (group.size() != 0) loop.poll();  // the group hears of the end a step later
    if (!out) return Error(Errc::internal, "a task of the connection was lost");
    return *std::move(out);
}

class ImapWire {
 public:
    ImapWire(net::Loop& loop, std::unique_ptr<net::Stream> stream, std::chrono::milliseconds silence_max,
             std::function<bool()> interrupted);
    ~ImapWire();
    ImapWire(const ImapWire&) = delete;
    ImapWire& operator=(const ImapWire&) = delete;

    Result<> send(std::string_view octets);
    /// The next event but `more`. Views live until the next call. Errc::closed, timeout, cancelled (Ctrl-C), too_large.
    Result<imap::ReaderEvent> next();
    const imap::ResponseReader& reader() const { return reader_; }
    /// Errc::invalid where the server sent something behind its answer to STARTTLS (it could be an attacker's).
    Result<> start_tls(net::TlsClientContext& context, const std::string& name);
    const std::optional<net::TlsFacts>& tls() const { return stream_->tls(); }
    net::TlsBinding tls_binding() const { return stream_->tls_binding(); }
    std::uint64_t octets_in() const { return octets_in_; }

 private:
    Result<> fill();

    net::Loop& loop_;
    std::unique_ptr<net::Stream> stream_;
    const std::chrono::milliseconds silence_max_;
    const std::function<bool()> interrupted_;
    imap::ResponseReader reader_;
    std::vector<char> buffer_;
    std::string_view rest_;  // of buffer_
    bool more_likely_ = false;
    std::uint64_t octets_in_ = 0;
};

}  // namespace posthouse::transfer
