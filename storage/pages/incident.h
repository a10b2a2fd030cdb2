#pragma once
/// storage/pages/incident: the page behind the link in the mail about an incident (storage/incident_link), for the
/// https service and for the API's. Showing it changes nothing: link scanners follow every address in a mail. Only a
/// POST presses the button: without login or cookie, so that nobody's browser can be made to press it for him.
/// Threads: as Snapshot and Tx.
#include <string>
#include <string_view>

#include "storage/incident_link.h"

namespace posthouse::storage {

struct Page {
    int status = 200;  ///< 404 for a token that opens nothing
    std::string html;
    Page(int code, std::string text) : status(code), html(std::move(text)) {}
};

Result<Page> show_incident(const Snapshot& snapshot, std::string_view token, std::string_view sealing_key, Time now);
/// As `posthouse incident fixed`; where it is over already, what show_incident() gives. `how`: "by the link in the mail
/// about it, from 192.0.2.1".
Result<Page> press_fixed(Tx& tx, std::string_view token, std::string_view sealing_key, std::string_view how);

}  // namespace posthouse::storage
