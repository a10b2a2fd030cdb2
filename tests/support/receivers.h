#pragma once
/// tests/support/receivers: the big receivers as stand-ins: who their mail servers are, what they bear, in which words
/// they say that it is too much, and how one of their hosts may be broken. A row a receiver; a site of whose limits
/// nothing is published gets what large senders agreed on. The words of refusals for good are in replies_test.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/stand_in.h"

namespace posthouse::test {

struct Receiver {
    std::string name;
    std::string site;                ///< as in the shaping table
    std::vector<std::string> hosts;  ///< the n-th is host number n of the traits; one name: it has all the addresses
    StandInTraits traits;
    std::size_t mails = 1'000;     ///< so many that what it costs to learn its limits is 2 % of them at most
    std::chrono::hours within{1};  ///< so long all of them may take
    Receiver() = default;
};

inline Receiver receiver(std::string name, std::string site, std::vector<std::string> hosts, BadHost bad) {
    Receiver out;
    out.name = std::move(name);
    out.site = std::move(site);
    out.hosts = std::move(hosts);
    out.traits.hosts = std::max<std::size_t>(out.hosts.size(), 2);
    out.traits.bad = bad;
    return out;
}

inline std::vector<Receiver> connection_caps() {
    Receiver gmail = receiver("Gmail", "google", {"gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"},
                              BadHost::drops);
    gmail.traits.connections_max = 3;
    Receiver outlook = receiver("Outlook.com", "microsoft-consumer", {"eur.olc.protection.outlook.com"}, BadHost::dead);
    outlook.traits.connections_max = 2;
    outlook.traits.cap_reply = "421 RP-003 exceeded the connection limit";
    Receiver exchange = receiver("Microsoft 365", "microsoft-365", {"there-example.mail.protection.outlook.com"},
                                 BadHost::breaks_off);
    exchange.traits.connections_max = 6;
    exchange.traits.cap_reply = "421 4.3.2 The maximum number of concurrent server connections has been exceeded";
    Receiver gmx = receiver("GMX, WEB.DE", "united-internet", {"mx00.emig.gmx.net", "mx01.emig.gmx.net"},
                            BadHost::turns_away);
    gmx.traits.connections_max = 4;
    gmx.traits.cap_reply = "421 gmx.net (mxgmx101) Nemesis ESMTP Service not available, Service unavailable, Reject "
                           "due to policy restrictions";
    Receiver telekom = receiver("T-Online", "t-online", {"mx00.t-online.de", "mx01.t-online.de", "mx02.t-online.de"},
                                BadHost::goes_silent);
    telekom.traits.connections_max = 5;
    telekom.traits.cap_reply = "421 4.7.0 mailin00.t-online.de Error: too many connections";
    Receiver orange = receiver("Orange", "orange", {"smtp-in.orange.fr"}, BadHost::goes_silent);
    orange.traits.connections_max = 2;
    orange.traits.cap_reply = "421 mwinf5c04 ME Too many connections, slow down. OFR004_104 [104]";
    Receiver comcast = receiver("Comcast", "comcast", {"mx1.comcast.net", "mx2.comcast.net"}, BadHost::dead);
    comcast.traits.connections_max = 12;
    comcast.traits.refuses_at_banner = false;
    return {gmail, outlook, exchange, gmx, telekom, orange, comcast};
}

inline std::vector<Receiver> rates() {
    Receiver gmail = receiver("Gmail 4.7.28", "google", {"gmail-smtp-in.l.google.com"}, BadHost::silent_reuse);
    gmail.traits.rate = 0.5;
    gmail.traits.burst = 400;  // then the whole group rests
    gmail.within = std::chrono::hours(60);
    Receiver outlook = receiver("Outlook.com RP-001", "microsoft-consumer", {"eur.olc.protection.outlook.com"},
                                BadHost::goes_silent);
    outlook.traits.rate = 2;
    outlook.traits.burst = 100;
    outlook.traits.rate_reply = "421 RP-001 The mail server IP connecting to Outlook.com has exceeded the rate limit";
    outlook.within = std::chrono::hours(30);
    Receiver exchange = receiver("Microsoft 365 4.7.500", "microsoft-365",
                                 {"there-example.mail.protection.outlook.com"}, BadHost::drops);
    exchange.traits.rate = 3;
    exchange.traits.burst = 30;
    exchange.traits.rate_reply = "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712)";
    Receiver yahoo = receiver("Yahoo", "yahoo", {"mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"}, BadHost::drops);
    yahoo.traits.messages_max = 20;  // then it hangs up without a word
    yahoo.traits.rate = 5;
    yahoo.traits.burst = 50;
    yahoo.traits.rate_reply = "451 Resources temporarily unavailable. Please try again later [#4.16.5]";
    Receiver apple = receiver("iCloud", "apple", {"mx01.mail.icloud.com", "mx02.mail.icloud.com"},
                              BadHost::silent_reuse);
    apple.traits.messages_max = 5;
    apple.traits.full_reply = "421 4.7.1 Try again later";
    apple.traits.rate = 4;
    apple.traits.burst = 20;
    apple.traits.rate_reply = "421 4.7.1 Rate limited, try again in {} seconds";
    apple.traits.names_a_time = true;
    Receiver gmx = receiver("GMX, WEB.DE: rate", "united-internet", {"mx-ha02.web.de", "mx-ha03.web.de"},
                            BadHost::turns_away);
    gmx.within = std::chrono::hours(2);
    gmx.traits.rate = 2;
    gmx.traits.burst = 20;
    gmx.traits.rate_reply = "421 gmx.net (mxgmx101) Nemesis ESMTP Service not available, Rate limit reached. Please "
                            "try again later";
    std::vector<Receiver> out{gmail, outlook, exchange, yahoo, apple, gmx};
    for (Receiver& one : out) one.mails = 6'000;
    return out;
}

inline std::vector<Receiver> small_ones() {
    Receiver grey = receiver("greylisting", "", {"mx1.grey.example", "mx2.grey.example"}, BadHost::turns_away);
    grey.traits.greylist = std::chrono::minutes(5);
    Receiver grey_hint = receiver("greylisting, with a hint", "", {"mx.hint.example"}, BadHost::dead);
    grey_hint.traits.greylist = std::chrono::minutes(10);
    grey_hint.traits.greylist_reply = "451 4.7.1 Greylisting in action, please come back in 600 seconds";
    Receiver tarpit = receiver("tarpit on a reused connection", "", {"mx1.tar.example", "mx2.tar.example"},
                               BadHost::silent_reuse);
    tarpit.traits.tarpit = std::chrono::seconds(5);
    tarpit.traits.reuse_tarpit = std::chrono::seconds(20);
    Receiver old = receiver("LF only, one message a connection", "", {"mx1.old.example", "mx2.old.example"},
                            BadHost::drops);
    old.traits.lf_only = true;
    old.traits.messages_max = 1;
    return {grey, grey_hint, tarpit, old};
}

inline std::vector<Receiver> receivers() {
    std::vector<Receiver> out = connection_caps();
    for (auto more : {rates(), small_ones()}) {
        for (Receiver& one : more) out.push_back(std::move(one));
    }
    return out;
}

}  // namespace posthouse::test
