#include "relay/fairness.h"

#include <doctest/doctest.h>

#include <map>

namespace posthouse::relay {
namespace {

using storage::QueueClass;

LaneEntry entry(std::int64_t id, std::int64_t queue, std::uint16_t cost = 1, std::uint32_t domain = 0) {
    LaneEntry out;
    out.recipient = static_cast<storage::RecipientId>(id);
    out.queue = static_cast<storage::QueueId>(queue);
    out.cost = cost;
    out.domain = domain;
    return out;
}

}  // namespace

TEST_CASE("a parcel is of one message and one domain, and of a hundred at most") {
    FairQueue queue;
    for (int i = 0; i < 150; ++i) queue.push(QueueClass::bulk, "a", entry(i, 1));
    queue.push(QueueClass::bulk, "a", entry(150, 1, 1, 7));
    queue.push(QueueClass::bulk, "a", entry(151, 2, 1, 7));
    CHECK(queue.take(1'000)->entries.size() == kRunMax);
    CHECK(queue.take(1'000)->entries.size() == 50);
    CHECK(queue.take(1'000)->entries.size() == 1);
    CHECK(queue.take(1'000)->entries.size() == 1);
    CHECK_FALSE(queue.take(1'000));
}

TEST_CASE("what is like no other goes alone") {
    FairQueue queue;
    for (int i = 0; i < 3; ++i) {
        LaneEntry one = entry(i, 1);
        one.is_alone = true;
        queue.push(QueueClass::bulk, "a", one);
    }
    for (int i = 0; i < 3; ++i) CHECK(queue.take(1'000)->entries.size() == 1);
    CHECK_FALSE(queue.take(1'000));
}

TEST_CASE("senders take turns by cost: many small messages, or few large ones") {
    FairQueue queue;
    for (int i = 0; i < 2'000; ++i) {
        queue.push(QueueClass::interactive, "small", entry(i, i));
        queue.push(QueueClass::interactive, "large", entry(10'000 + i, 10'000 + i, 20));
    }
    std::map<std::string, std::uint64_t> cost;
    for (int i = 0; i < 1'000; ++i) {
        const auto parcel = queue.take(100);
        cost[parcel->flow] += parcel->entries.front().cost;
    }
    CHECK(cost["small"] > 0.8 * static_cast<double>(cost["large"]));
    CHECK(cost["small"] < 1.25 * static_cast<double>(cost["large"]));
}

TEST_CASE("classes share 16 : 4 : 1, and who comes back from idleness goes first") {
    FairQueue queue;
    for (int i = 0; i < 5'000; ++i) {
        queue.push(QueueClass::transactional, "t", entry(i, i));
        queue.push(QueueClass::bulk, "b", entry(10'000 + i, 10'000 + i));
    }
    for (int i = 0; i < 1'000; ++i) queue.take(1);
    queue.push(QueueClass::interactive, "i", entry(99'999, 99'999));
    CHECK(queue.take(1)->priority == QueueClass::interactive);
    for (int i = 0; i < 5'000; ++i) queue.push(QueueClass::interactive, "i", entry(100'000 + i, 100'000 + i));
    std::map<QueueClass, int> count;
    for (int i = 0; i < 2'100; ++i) ++count[queue.take(1)->priority];
    CHECK(count[QueueClass::interactive] == doctest::Approx(1'600).epsilon(0.02));
    CHECK(count[QueueClass::transactional] == doctest::Approx(400).epsilon(0.02));
    CHECK(count[QueueClass::bulk] == doctest::Approx(100).epsilon(0.05));
}

TEST_CASE("what could not go stands where it stood, and its sender has paid nothing") {
    FairQueue queue;
    queue.push(QueueClass::interactive, "a", entry(1, 1));
    queue.push(QueueClass::interactive, "a", entry(2, 2));
    const auto first = queue.take(1);
    queue.put_back(*first);
    CHECK(queue.size() == 2);
    CHECK(queue.take(1)->entries.front().recipient == storage::RecipientId{1});
    CHECK(queue.take(1)->entries.front().recipient == storage::RecipientId{2});
}

TEST_CASE("extract takes what is wanted and leaves the rest in order") {
    FairQueue queue;
    for (int i = 0; i < 10; ++i) queue.push(QueueClass::bulk, "a", entry(i, i / 5));
    const auto odd = [](const LaneEntry& e) { return storage::raw(e.recipient) % 2 == 1; };
    const auto out = queue.extract(odd, 4);
    std::size_t count = 0;
    for (const Parcel& parcel : out) count += parcel.entries.size();
    CHECK(count == 4);
    CHECK(queue.size() == 6);
    CHECK(queue.take(1)->entries.front().recipient == storage::RecipientId{0});
}

TEST_CASE("a domain's name is kept once") {
    DomainNames names;
    CHECK(names.number_of("a.example") == names.number_of("a.example"));
    CHECK(names.number_of("b.example") != names.number_of("a.example"));
    CHECK(names.name(names.number_of("b.example")) == "b.example");
    CHECK(names.size() == 2);
}

}  // namespace posthouse::relay
