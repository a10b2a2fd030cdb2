#pragma once
/// protocols/report: the fields of a delivery-status part (RFC 3464 2, RFC 6533 3). Lenient: groups that lack their
/// empty line are told apart by their Final-Recipient.
#include <string>
#include <string_view>
#include <vector>

namespace posthouse::report {

struct RecipientFields {
    std::string final_recipient;  ///< the address without its type; UTF-8 where the type is utf-8
    std::string original_recipient;
    std::string action;      ///< lower case
    std::string status;      ///< only the code
    std::string diagnostic;  ///< unfolded, without its type
    std::string remote_mta;  ///< the name, without type and comment
};

struct DeliveryStatus {
    std::string reporting_mta;
    std::string envelope_id;  ///< Original-Envelope-Id
    std::vector<RecipientFields> recipients;
};

/// `text` may hold other paragraphs too: they are passed over. At most kRecipientsMax recipients.
DeliveryStatus parse_delivery_status(std::string_view text);

/// utf-8-addr-xtext: "\x{E5}" becomes its character                                         RFC 6533 3
std::string decode_utf8_address(std::string_view text);

}  // namespace posthouse::report
