// Create, list, verify, retention and encryption on real stores.
#include <fmt/format.h>
#include <sys/stat.h>

#include "tests/unit/storage/backup/backup_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::test;

TEST_CASE("a backup passes its verify, in clear and encrypted; the second one copies only what is new") {
    for (const bool encrypted : {false, true}) {
        CAPTURE(encrypted);
        BackupStore house(encrypted);
        for (int i = 0; i < 20; ++i) house.deliver(house.alice, i);
        house.deliver(house.bob, 100, "INBOX", kSpoolOctets + 1000);  // a segment of its own
        const backup::Created first = house.create();
        CHECK(first.messages == 21);
        CHECK(first.damage.count == 0);
        CHECK(first.octets_written > kSpoolOctets);
        CHECK(first.has_keys == encrypted);
        CHECK(house.verify().messages == 21);
        CHECK(house.verify().faults.count == 0);

        const backup::Created again = house.create();
        // The passing copy of mail.db and the open segment are read again; the large one is not.
        CHECK(again.octets_read < 1024 * 1024);
        CHECK(again.octets_written < 20'000);
        house.deliver(house.alice, 21);
        const backup::Created third = house.create();
        CHECK(third.messages == 22);
        CHECK(third.octets_written < 400'000);
        for (const auto& one : {first.name, again.name, third.name}) CHECK(house.verify(one).faults.count == 0);

        const auto all = backup::list(house.target);
        REQUIRE(all);
        REQUIRE(all->size() == 3);
        for (const backup::Listed& one : *all) {
            CHECK(one.verified);
            CHECK(one.faults == 0);
            CHECK(one.hostname == "mail.a.example");
            CHECK(one.unreadable.empty());
        }
        const auto ages = backup::ages(house.target);
        REQUIRE(ages);
        CHECK(ages->newest == ages->verified_good);
    }
}

TEST_CASE("nothing of what is kept encrypted can be read without the key") {
    BackupStore house(true);
    house.deliver(house.alice, 1);
    const std::string name = house.create().name;
    const auto names_of_content = [&](const fs::path& path) {
        const std::string octets = read_whole(path);
        return octets.find("number 1") != std::string::npos || octets.find("alice@") != std::string::npos;
    };
    for (const auto& item : fs::recursive_directory_iterator(house.target.directory)) {
        if (item.is_regular_file()) CHECK_FALSE(names_of_content(item.path()));
    }
    // The same octets have another name under another key: a name tells nothing to whoever has the message.
    const std::string segment = read_whole(house.store.path() + "/segments/000001.seg");
    const std::string plain_name = crypto::hex(crypto::sha256(segment));
    for (const fs::path& object : house.objects()) CHECK(object.filename() != plain_name);

    backup::Target wrong = house.target;
    wrong.key = crypto::random_octets(32);
    CHECK(backup::verify(wrong, "", house.scratch(), {}).error().code == Errc::unauthenticated);
    CHECK(backup::list(wrong).error().context.find("the key does not fit") != std::string::npos);
    wrong.key.clear();
    CHECK(backup::list(wrong).error().context.find("--key-file") != std::string::npos);
    BackupStore clear;
    wrong = clear.target;
    wrong.key = house.target.key;
    CHECK(backup::list(wrong).error().context.find("not encrypted") != std::string::npos);
}

TEST_CASE("a target that is not mounted, not empty or not ours is refused in a sentence") {
    BackupStore house;
    backup::Target target;
    target.directory = house.new_folder("nowhere");
    CHECK(backup::create(*house.store, target, {}, {}).error().context.find("mounted?") != std::string::npos);
    CHECK_FALSE(fs::exists(target.directory));
    target.directory = house.new_folder("no/where");
    CHECK(backup::init(target).error().context.find("mounted?") != std::string::npos);
    fs::create_directory(house.new_folder("full"));
    write_whole(house.new_folder("full") + "/file", "x");
    target.directory = house.new_folder("full");
    CHECK(backup::init(target).error().context.find("not empty") != std::string::npos);
    CHECK(backup::init(house.target).error().code == Errc::already_exists);
    // The mount point of a disk that is not there: an empty directory.
    fs::create_directory(house.new_folder("mountpoint"));
    target.directory = house.new_folder("mountpoint");
    CHECK(backup::create(*house.store, target, {}, {}).error().context.find("mounted?") != std::string::npos);
    CHECK(fs::is_empty(target.directory));
    CHECK(house.try_create());
    CHECK(backup::verify(house.target, "2031", house.scratch(), {}).error().code == Errc::not_found);
}

TEST_CASE("a key file is read only where others cannot") {
    BackupStore house;
    const std::string path = house.new_folder("k");
    REQUIRE(backup::make_key(path));
    CHECK(backup::make_key(path).error().code == Errc::already_exists);
    CHECK(backup::read_key(path).value().size() == 32);
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    CHECK(backup::read_key(path).error().code == Errc::denied);
    write_whole(house.new_folder("bad"), "posthouse-backup-key-1 12\n");
    REQUIRE(::chmod(house.new_folder("bad").c_str(), 0600) == 0);
    CHECK(backup::read_key(house.new_folder("bad")).error().code == Errc::invalid);
    CHECK(backup::read_key(house.new_folder("none")).error().code == Errc::not_found);
}

TEST_CASE("whatever object is spoilt, cut or gone: verify names it, the rest is whole, the next backup heals it") {
    for (const bool encrypted : {false, true}) {
        BackupStore house(encrypted);
        for (int i = 0; i < 5; ++i) house.deliver(house.alice, i);
        house.deliver(house.bob, 100, "INBOX", kSpoolOctets + 1000);
        const std::string name = house.create().name;
        REQUIRE(house.verify().faults.count == 0);
        const std::vector<fs::path> objects = house.objects();
        REQUIRE(objects.size() >= 4);
        for (const fs::path& object : objects) {
            for (const char* how : {"spoilt", "cut", "gone"}) {
                CAPTURE(object);
                CAPTURE(how);
                const std::string octets = read_whole(object);
                if (*how == 's') spoil(object, octets.size() / 2);
                if (*how == 'c') write_whole(object, octets.substr(0, octets.size() - 1));
                if (*how == 'g') fs::remove(object);
                const backup::Verified found = house.verify(name);
                CHECK(found.faults.count >= 1);
                CHECK(found.faults.sentences.front().find(object.filename().string()) != std::string::npos);
                const auto all = backup::list(house.target);
                REQUIRE(all);
                CHECK(all->front().faults >= 1);
                // Old objects come back under their names as long as the store has them.
                house.create();
                const bool database = found.faults.sentences.front().starts_with("mail.db") ||
                                      found.faults.sentences.front().starts_with("seal.key");
                if (!database) CHECK(house.verify(name).faults.count == 0);
                write_whole(object, octets);
                fs::remove(object.string() + ".damaged");
                CHECK(house.verify(name).faults.count == 0);
            }
        }
    }
}

TEST_CASE("a spoilt manifest is named; nothing is removed while it is not known what it needs") {
    BackupStore house;
    house.deliver(house.alice, 1);
    const std::string first = house.create().name;
    house.deliver(house.alice, 2);
    const std::string second = house.create().name;
    const std::size_t objects = house.objects().size();
    spoil(house.target.directory + "/backups/" + first + "/manifest", 60);
    CHECK(backup::verify(house.target, first, house.scratch(), {}).error().context.find(first) != std::string::npos);
    const auto all = backup::list(house.target);
    REQUIRE(all);
    CHECK_FALSE(all->front().unreadable.empty());
    house.deliver(house.alice, 3);
    const backup::Created third = house.create();
    CHECK(third.not_removed.find(first) != std::string::npos);
    CHECK(house.objects().size() >= objects);
    CHECK(house.verify(second).faults.count == 0);
    CHECK(house.verify(third.name).faults.count == 0);
    fs::remove_all(house.target.directory + "/backups/" + first);
    CHECK(house.create().not_removed.empty());
    CHECK(house.verify(second).faults.count == 0);
}

TEST_CASE("retention removes backups and what only they needed, never the last verified good one") {
    BackupStore house;
    std::vector<std::string> names;
    for (int i = 0; i < 4; ++i) {
        house.deliver(house.alice, i);
        names.push_back(house.create().name);
        // A day each.
        const fs::path from = house.target.directory + "/backups/" + names.back();
        const std::string renamed = fmt::format("2026010{}T000000.000Z-abcdef", i + 1);
        fs::rename(from, from.parent_path() / renamed);
        names.back() = renamed;
    }
    CHECK(house.verify(names[1]).faults.count == 0);
    const std::size_t before = house.objects().size();
    const backup::Created last = house.create(backup::Keep{.newest = 1});
    CHECK(last.removed == std::vector<std::string>{names[0], names[2], names[3]});
    CHECK(last.octets_freed > 0);
    CHECK(house.objects().size() < before);
    CHECK(house.verify(names[1]).faults.count == 0);
    CHECK(house.verify(last.name).faults.count == 0);
    CHECK(house.create(backup::Keep{.newest = 1}).removed == std::vector<std::string>{names[1]});
}

TEST_CASE("damage in the store is named, copied as it is, and stops nothing") {
    BackupStore house;
    for (int i = 0; i < 5; ++i) house.deliver(house.alice, i);
    house.deliver(house.bob, 100, "INBOX", kSpoolOctets + 1000);
    house.store.close();
    spoil(house.store.path() + "/segments/000001.seg", 5000);
    fs::remove(house.store.path() + "/segments/000002.seg");
    house.store.reopen();
    const backup::Created made = house.create();
    REQUIRE(made.damage.count == 2);
    CHECK(made.damage.sentences[0].starts_with("segments/000001.seg: message 2"));
    CHECK(made.damage.sentences[1].starts_with("segments/000002.seg is missing"));
    // The backup is true to the store: good, with the damage named again.
    const backup::Verified found = house.verify();
    CHECK(found.faults.count == 0);
    CHECK(found.known.count == 4);
    CHECK(house.create().damage.count == 2);
    const auto restored = backup::restore(house.target, "", house.new_folder("new"), {}, {});
    REQUIRE(restored);
    // One message is damaged, one is gone; the others come back.
    const auto mail = house.restore_mail({.account = "alice@a.example", .into = "Back"});
    REQUIRE(mail);
    CHECK(mail->messages == 4);
    CHECK(mail->lost.count == 1);
}

TEST_CASE("a backup that is stopped leaves the repository as it was") {
    BackupStore house;
    for (int i = 0; i < 50; ++i) house.deliver(house.alice, i);
    const std::string first = house.create().name;
    for (int i = 50; i < 60; ++i) house.deliver(house.alice, i);
    for (int steps = 0;; ++steps) {
        int left = steps;
        backup::Watch watch;
        watch.stop = [&left] { return left-- == 0; };
        backup::CreateOptions options;
        const auto made = backup::create(*house.store, house.target, options, watch);
        if (made) break;
        CHECK(made.error().code == Errc::cancelled);
        CHECK(backup::list(house.target).value().size() == 1);
        CHECK(house.verify().name == first);
        REQUIRE(steps < 100);
    }
    CHECK(house.verify().messages == 60);
    CHECK(fs::is_empty(house.target.directory + "/tmp"));
    CHECK(fs::is_empty(house.store.path() + "/tmp"));
}
