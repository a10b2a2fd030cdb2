// The clients of the APPEND rows of imap_peers_bench.py: as little of a client as there can be, so that on a small
// machine the servers are measured and not an interpreter that shares their processors.
//        imap_append_load PORT CLIENTS EACH LOGIN MAILBOX < message
// CLIENTS connections to 127.0.0.1 log in with the command LOGIN. From when all of them are in, each sends EACH times
// APPEND of the message with a non-synchronising literal and waits for its OK. Prints one JSON line: how long it took,
// and the time from an APPEND to its OK (median, and 99 of 100). Whatever is not OK ends it with a message.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Instant = std::chrono::steady_clock::time_point;

[[noreturn]] void give_up(const std::string& why) {
    std::fprintf(stderr, "imap_append_load: %s\n", why.c_str());
    std::exit(1);
}

double seconds_since(Instant began) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

int connect_to(std::uint16_t port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        give_up(fmt::format("port {}: {}", port, std::strerror(errno)));
    }
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return socket;
}

/// One connection, which has one command under way.
class Client {
 public:
    Client(std::uint16_t port, const std::string& login) : socket_(connect_to(port)) {
        char greeting[4096];
        if (::recv(socket_, greeting, sizeof greeting, 0) <= 0) give_up("no greeting");
        send(login + "\r\n");
        while (!take()) {
        }
    }
    ~Client() { ::close(socket_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    int socket() const { return socket_; }
    /// A tag is put before it.
    void send(std::string_view command) {
        const std::string tag = fmt::format("x{} ", ++count_);
        mark_ = tag + "OK";
        held_.clear();
        iovec pieces[2] = {{const_cast<char*>(tag.data()), tag.size()},
                           {const_cast<char*>(command.data()), command.size()}};
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = 2;
        began_ = std::chrono::steady_clock::now();
        const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
        if (sent < 0) give_up(std::strerror(errno));
        std::string rest = tag;
        for (rest += command, rest.erase(0, static_cast<std::size_t>(sent)); !rest.empty();) {
            const ssize_t more = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
            if (more < 0) give_up(std::strerror(errno));
            rest.erase(0, static_cast<std::size_t>(more));
        }
        acknowledge();
    }
    /// Reads what is there; true where it ends the answer.
    bool take() {
        char piece[4096];
        const ssize_t got = ::recv(socket_, piece, sizeof piece, 0);
        if (got <= 0) give_up("the server hung up: " + held_);
        acknowledge();
        held_.append(piece, static_cast<std::size_t>(got));
        if (!held_.ends_with("\r\n")) return false;
        const std::size_t before = held_.rfind('\n', held_.size() - 2);
        const std::string_view last = std::string_view(held_).substr(before == std::string::npos ? 0 : before + 1);
        if (last.starts_with("* ")) return false;
        if (!last.starts_with(mark_)) give_up("the server says " + held_);
        return true;
    }
    double waited_s() const { return seconds_since(began_); }
    int done = 0;

 private:
    // A server that writes in small pieces waits for our kernel to acknowledge each; that is not what is measured.
    void acknowledge() const {
        const int on = 1;
        ::setsockopt(socket_, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }

    int socket_;
    int count_ = 0;
    std::string mark_;
    std::string held_;
    Instant began_{};
};

std::string read_message() {
    std::string out;
    char piece[65536];
    for (std::size_t got = 0; (got = std::fread(piece, 1, sizeof piece, stdin)) > 0;) out.append(piece, got);
    if (out.empty()) give_up("no message on standard input");
    return out;
}

double cpu_s() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) give_up("usage: imap_append_load PORT CLIENTS EACH LOGIN MAILBOX < message");
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
    const int clients = std::atoi(argv[2]);
    const int each = std::atoi(argv[3]);
    if (clients < 1 || each < 1) give_up("CLIENTS and EACH are 1 or more");
    const std::string message = read_message();
    const std::string command = fmt::format("APPEND {} {{{}+}}\r\n{}\r\n", argv[5], message.size(), message);
    std::vector<std::unique_ptr<Client>> all;
    std::vector<pollfd> waiting;
    for (int i = 0; i < clients; ++i) {
        all.push_back(std::make_unique<Client>(port, argv[4]));
        waiting.push_back(pollfd{all.back()->socket(), POLLIN, 0});
    }
    std::vector<double> times;
    const Instant began = std::chrono::steady_clock::now();
    const double cpu_before = cpu_s();
    for (const auto& client : all) client->send(command);
    for (int busy = clients; busy > 0;) {
        if (::poll(waiting.data(), waiting.size(), 60'000) <= 0) give_up("no answer for a minute");
        for (std::size_t i = 0; i < all.size(); ++i) {
            Client& client = *all[i];
            if (waiting[i].revents == 0 || !client.take()) continue;
            times.push_back(client.waited_s() * 1000);
            if (++client.done < each) {
                client.send(command);
            } else {
                waiting[i].fd = -1;
                --busy;
            }
        }
    }
    const double took = seconds_since(began);
    std::ranges::sort(times);
    const auto at = [&](double share) { return times[static_cast<std::size_t>(share * double(times.size() - 1))]; };
    fmt::print("{{\"appends\": {}, \"seconds\": {:.4f}, ", times.size(), took);
    fmt::print("\"median_ms\": {:.2f}, \"p99_ms\": {:.2f}, ", at(0.5), at(0.99));
    fmt::print("\"own_cpu_us\": {:.1f}}}\n", (cpu_s() - cpu_before) / double(times.size()) * 1e6);
    return 0;
}
