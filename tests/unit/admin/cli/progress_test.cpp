#include "admin/cli/progress.h"

#include <doctest/doctest.h>

using posthouse::admin::Progress;

TEST_CASE("the line of progress tells share, rate, amount and time left") {
    CHECK(Progress::line(50, 200, 0, 10, "messages", "INBOX") ==
          "50 of 200 messages (25 %), 5 a second, 30 s left: INBOX");
    CHECK(Progress::line(50, 0, 2048, 10, "messages", "") == "50 messages, 5 a second, 2.0 KiB");
    CHECK(Progress::line(100, 100, 0, 10, "files", "") == "100 of 100 files (100 %), 10 a second");
    CHECK(Progress::line(0, 100, 0, 0, "files", "") == "0 of 100 files (0 %), 0 a second");
    CHECK(Progress::line(1, 10001, 0, 1, "files", "") == "1 of 10001 files (0 %), 1 a second, 2 h 46 min left");
}
