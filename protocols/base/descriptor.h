#pragma once
/// protocols/base/descriptor: a file descriptor that is closed with its owner. Threads: a value.
#include <utility>

namespace posthouse {

class Descriptor {
 public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() { close(); }
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    /// What close(2) answers is not looked at: what must be durable was synced before.
    void close();

 private:
    int fd_ = -1;
};

}  // namespace posthouse
