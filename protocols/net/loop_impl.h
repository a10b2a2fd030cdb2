#pragma once
/// protocols/net/loop_impl: what stands behind Loop; for protocols/net/*.cpp only.
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>

#include "protocols/net/loop.h"

namespace posthouse::net {

using ContextExecutor = boost::asio::io_context::executor_type;
using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                boost::asio::wait_traits<std::chrono::steady_clock>, ContextExecutor>;

struct Loop::Impl {
    // One thread runs the context, but others post to it: the hint keeps the locks and drops the extra wake-ups.
    boost::asio::io_context context{1};
    boost::asio::executor_work_guard<ContextExecutor> work{context.get_executor()};
};

}  // namespace posthouse::net
