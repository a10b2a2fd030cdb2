#pragma once
/// admin/transfer/watch: how long work shows itself and is asked to end; the command line fills it. Any may be empty.
/// Threads: called on the thread that works.
#include <cstdint>
#include <functional>
#include <string>

namespace posthouse::transfer {

struct Watch {
    std::function<bool()> interrupted;                   ///< true: end the step and leave
    std::function<void(std::uint64_t messages)> expect;  ///< how many there are, as far as is known
    std::function<void(std::uint64_t done, std::uint64_t octets, const std::string& what)> show;

    bool is_interrupted() const { return interrupted && interrupted(); }
    void expected(std::uint64_t messages) const {
        if (expect) expect(messages);
    }
    void shown(std::uint64_t done, std::uint64_t octets, const std::string& what) const {
        if (show) show(done, octets, what);
    }
};

}  // namespace posthouse::transfer
