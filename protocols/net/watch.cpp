#include "protocols/net/watch.h"

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>

#include "protocols/net/loop_impl.h"

namespace posthouse::net {

namespace asio = boost::asio;

// The pending wait holds the Impl; the watch's end only marks it and cancels.
struct DescriptorWatch::Impl : std::enable_shared_from_this<Impl> {
    Impl(Loop& loop, int fd, std::function<void()> call)
        : descriptor(loop.impl().context, fd), on_readable(std::move(call)) {}
    ~Impl() {
        if (descriptor.is_open()) descriptor.release();
    }

    void arm() {
        descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                              [self = shared_from_this()](boost::system::error_code ec) {
                                  if (ec || self->ended) return;
                                  self->on_readable();
                                  if (!self->ended) self->arm();
                              });
    }

    asio::posix::basic_stream_descriptor<ContextExecutor> descriptor;
    std::function<void()> on_readable;
    bool ended = false;
};

DescriptorWatch::DescriptorWatch(Loop& loop, int descriptor, std::function<void()> on_readable)
    : impl_(std::make_shared<Impl>(loop, descriptor, std::move(on_readable))) {
    impl_->arm();
}

DescriptorWatch::~DescriptorWatch() {
    impl_->ended = true;
    impl_->descriptor.release();  // cancels the wait and forgets the descriptor without closing it
}

struct SignalWatch::Impl : std::enable_shared_from_this<Impl> {
    Impl(Loop& loop, std::function<void(int)> call) : signals(loop.impl().context), on_signal(std::move(call)) {}

    void arm() {
        signals.async_wait([self = shared_from_this()](boost::system::error_code ec, int number) {
            if (ec || self->ended) return;
            self->on_signal(number);
            if (!self->ended) self->arm();
        });
    }

    asio::basic_signal_set<ContextExecutor> signals;
    std::function<void(int)> on_signal;
    bool ended = false;
};

SignalWatch::SignalWatch(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal)
    : impl_(std::make_shared<Impl>(loop, std::move(on_signal))) {
    for (const int number : signals) impl_->signals.add(number);
    impl_->arm();
}

SignalWatch::~SignalWatch() {
    impl_->ended = true;
    boost::system::error_code ignored;
    impl_->signals.cancel(ignored);
}

}  // namespace posthouse::net
