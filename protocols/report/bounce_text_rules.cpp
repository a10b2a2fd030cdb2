// What the programs of the world write when they return a message.
#include "protocols/report/bounce_text.h"

namespace posthouse::report {
namespace {

constexpr TextRule kRules[] = {
    // The address begins the line and the cause follows.
    {"qmail, Postfix, Yahoo", "<", ">:"},
    {"GMX", "\"", "\":"},
    {"OpenSMTPD", "", ":"},
    {"McAfee", "<", "> ("},
    {"MMDF", "", " ..."},
    {"Exchange 2003", "", " on "},
    {"Exchange 365", "", "<mailto:"},
    {"X1", "", " ["},
    {"MTA of old", ">>> ", " <"},
    {"Sendmail 5", "### <", ">...", Place::line, 1, true},
    // A sentence names it.
    {"DragonFly", "delivering your mail to ", "", Place::anywhere},
    {"MailFoundry, InterScan", "deliver message to", "", Place::anywhere},
    {"IMail", "undeliverable to ", "", Place::anywhere},
    {"IMail", "unknown user: ", "", Place::anywhere},
    {"IMail", "invalid final delivery userid: ", "", Place::anywhere},
    {"KDDI", "not be delivered to: ", "", Place::anywhere},
    {"KDDI", "recipient: ", "", Place::anywhere},
    {"PMDF", "recipient address: ", "", Place::anywhere},
    {"postmaster", "the following recipient: ", "", Place::anywhere},
    {"X6", "returned permanent errors: ", "", Place::anywhere},
    {"FML", "not a member of this mailing list ", "", Place::anywhere},
    // A list of addresses.
    {"list", "", "", Place::alone, 2},
    {"list", "<", ">", Place::alone, 2},
    {"list", "* ", "", Place::alone, 2},
    {"Zoho", "", " Invalid ", Place::line, 2},
    {"Zoho", "", " Error", Place::line, 2},
    // The command that was refused.
    {"command", "rcpt to:", "", Place::anywhere, 3},
    {"command", "rcpt to: ", "", Place::anywhere, 3},
};

constexpr std::string_view kReturned[] = {"below this line is a copy",
                                          "enclosed is a copy",
                                          "this is a copy of",
                                          "below is a copy of",
                                          "original message",
                                          "the header of the original message",
                                          "included is a copy of the message",
                                          "unsent message follows",
                                          "message headers follow",
                                          "message text follows",
                                          "returned message",
                                          "original mail info",
                                          "this is the original message",
                                          "your message follows"};

constexpr std::string_view kIntroductions[] = {"following address",        "following addresses",
                                               "following recipient",      "following recipients",
                                               "list of recipients",       "not delivered to",
                                               "failed permanently",       "has been delayed",
                                               "not yet been delivered",   "able to deliver",
                                               "unable to deliver",        "not be delivered",
                                               "could not be delivered",   "delivery problems",
                                               "delivery errors",          "fatal errors",
                                               "failure reasons",          "account is disabled",
                                               "recipients were",          "did not receive",
                                               "failed addresses",         "rejected by a remote mail",
                                               "these recipients",         "delivery failed",
                                               "以下のメールアドレスへ*",  "次のあて先へ*",
                                               "не может быть доставлено", "was aborted after",
                                               "rejected by the domain",   "nicht zugestellt",
                                               "n a pas pu être",          "no ha podido ser",
                                               "non è stato possibile",    "was undeliverable",
                                               "undeliverable mail"};

constexpr std::string_view kData[] = {"end of data",  "reply to data", "final data",   "after data",
                                      "data command", "command data",  "message data", "after i sent the message"};
constexpr std::string_view kRcpt[] = {"after rcpt to",    "reply to rcpt to",        "our rcpt to",
                                      "rcpt to response", "does not like recipient", "after rcpt command"};
constexpr std::string_view kMail[] = {"after mail from", "reply to mail from", "our mail from", "sender was rejected"};
constexpr std::string_view kConnect[] = {"after initial connection", "refused to talk to me"};
constexpr StepWords kSteps[] = {
    {Step::data, kData}, {Step::rcpt, kRcpt}, {Step::mail, kMail}, {Step::connect, kConnect}};

// What any notice says of itself.
constexpr std::string_view kIdle[] = {"this is the",
                                      "created automatically",
                                      "automatically generated",
                                      "this is a permanent error",
                                      "afraid i wasnt able",
                                      "sorry it didnt work out",
                                      "could not be delivered to one or more",
                                      "for further assistance",
                                      "include this problem report",
                                      "delete your own text",
                                      "transcript of session",
                                      "original message was received",
                                      "following address",
                                      "following addresses",
                                      "please do not reply",
                                      "mime encapsulated message",
                                      "multi part message",
                                      "the mail system",
                                      "giving up on"};

}  // namespace

std::span<const TextRule> text_rules() { return kRules; }
std::span<const std::string_view> returned_marks() { return kReturned; }
std::span<const std::string_view> introductions() { return kIntroductions; }
std::span<const StepWords> step_words() { return kSteps; }
std::span<const std::string_view> idle_words() { return kIdle; }

}  // namespace posthouse::report
