#pragma once
/// protocols/net/tcp: the Stream over a TCP socket, with TLS on demand; for protocols/net/*.cpp only.
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <unordered_set>

#include "protocols/net/loop_impl.h"
#include "protocols/net/stream.h"

namespace posthouse::net {

using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, ContextExecutor>;

class TcpStream;
/// The streams of one listener that are alive, so that stop() and cut() reach them. Streams hold it: it may outlive
/// the listener.
struct StreamRegistry {
    std::unordered_set<TcpStream*> streams;
};

boost::asio::ip::tcp::endpoint to_asio(const Endpoint& endpoint);
Endpoint from_asio(const boost::asio::ip::tcp::endpoint& endpoint);

/// Makes the stream of an open socket, which becomes non-blocking; `registry` may be null.
std::unique_ptr<Stream> make_tcp_stream(Loop& loop, TcpSocket socket, std::shared_ptr<StreamRegistry> registry);
void interrupt_all(StreamRegistry& registry);
void close_all(StreamRegistry& registry);

}  // namespace posthouse::net
