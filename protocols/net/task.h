#pragma once
/// protocols/net/task: the coroutine type of the house. The only Asio headers that a room outside net ever sees.
/// Only Task<void> is spawned (through TaskGroup); spawned functions take values, awaited ones may take references.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace posthouse::net {

template <class T = void>
using Task = boost::asio::awaitable<T>;

}  // namespace posthouse::net
