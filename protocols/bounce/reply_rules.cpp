// What everybody says: lists, signing, enhanced codes (RFC 3463 and its registry), words, bare codes.
#include "protocols/bounce/reply_rules.h"

namespace posthouse::bounce {
namespace {

using enum ReplyClass;
constexpr auto kAny = Provider::any;

constexpr std::string_view kUnknown =
    "user unknown|unknown user|unknown users|no such user|no such recipient|no such mailbox|no such address|no such "
    "person|"
    "mailbox not found|user not found|recipient not found|user does not exist|user doesnt exist|user not exist|"
    "account does not exist|mailbox does not exist|address does not exist|mailbox doesnt exist|recipient does not "
    "exist|"
    "does not exist|doesnt exist|doesnt have a|unknown recipient|recipient unknown|recipient is unknown|unknown "
    "address|"
    "address unknown|unknown mailbox|mailbox unknown|unknown account|unknown local part|unknown local user|"
    "unknown or illegal alias|invalid recipient|invalid mailbox|invalid user|user invalid|invalid address|"
    "recipient invalid|no mailbox here|no mailbox by that name|not a valid mailbox|not a valid user|not a valid "
    "recipient|"
    "mailbox unavailable|unrouteable address|unroutable address|undeliverable address|bad destination mailbox|"
    "not our customer|not a registered|no account by that name|not listed in|is not a known user|not known at this|"
    "unknown to the system|user is unknown|recipient address rejected undeliverable|no valid recipients|no such "
    "account|"
    "no longer valid|nobody by that name|no one by that name|wurde nicht gefunden|utilisateur inconnu|"
    "destinataire invalide|unbekannter empfaenger|usuario desconocido|is not a user|isnt a valid|address invalid|"
    "not recognized|did not match any|unknown username|could not be found|couldnt be found|wasnt found|cannot be found|"
    "recipient address rejected no such|reject address|address rejected$|not find a user|user name is wrong|"
    "final delivery userid";

constexpr std::string_view kDisabled =
    "disabled|deactivated|suspended|inactive|account is blocked|recipient account is blocked|is frozen|mailbox frozen|"
    "account closed|account is closed|account expired|account has expired|no longer active|mailbox is blocked|"
    "mailbox blocked|account locked|account is locked|mailbox locked|temporarily locked|account blocked|"
    "account has been|not active|mailbox is inactive|user is not active|dormant|account terminated";
constexpr std::string_view kMoved =
    "has moved|user moved|no longer on server|not our user|forwarding address|address changed|has left|"
    "no longer works here|no longer with|no longer employed|user not local|changed to";

constexpr std::string_view kFull =
    "mailbox full|mailbox is full|mailbox for user is full|inbox is full|box full|inbox full|over quota|overquota|"
    "quota exceeded|exceeded quota|quota exceeds|exceeded its quota|exceeds quota|exceed quota|quota violation|"
    "out of storage|over the storage limit|storage limit|storage full|exceeded storage|exceeded the storage|"
    "insufficient system storage|insufficient storage|insufficient disk|not enough space|not enough storage|"
    "not enough disk|no space left|disk quota|disk full|quota full|full mailbox|maildir over|maildrop full|"
    "mail quota|user is over|over its quota|over the maximum allowed|mailbox size|exceeding quota|too much mail data|"
    "exceeded its|over limit|mailfolder is full|folder is full|mailbox exceeded|mailbox exceeds|account is "
    "full|quotaexceeded|account full";

constexpr std::string_view kTooBig =
    "message size|message too large|message is too large|message too big|mail too big|mail too large|size limit|"
    "size exceeds|exceeds maximum|exceeds fixed maximum|exceeds the maximum|message too long|too large for|"
    "message length exceeds|larger than|max message size|maximum message size|line too long|exceeds size|"
    "message file too big|message exceeds|msg too big|data size exceeded|is too big|attachment too large|exceeds limit";

constexpr std::string_view kListNames =
    "spamhaus|zen spamhaus|sbl xbl|spamcop|barracudacentral|sorbs|dnsbl*|mailspike|uceprotect|senderscore|abuseat|"
    "njabl|psbl|invaluement|spamrats|nixspam|blocklist|blocklists|blocklisted|blacklist|blacklists|blacklisted|"
    "denylist|denylisted|blackholed|realtime block*|real time block*|rbl|dnsrbl|spameatingmonkey|gbudb|"
    "black list|block list|black listed|block listed|blocked list|blackhole list|lashback|surriel|truncate gbudb|"
    "validity com|returnpath|sender score|trendmicro com|ers trendmicro|deny list";
constexpr std::string_view kAddressWords =
    "bad reputation|poor reputation|low reputation|ip reputation|reputation of the sending ip|address reputation|"
    "reputation of your ip|reputation of your|client host blocked|client host rejected|your ip|your host|sending ip|"
    "ip address blocked|ip blocked|blocked ip|your mail server|your server|sender ip|connecting ip|ip has been|"
    "dynamic ip|dynamic address|dial up|dialup|residential ip|generic rdns|generic reverse|connections not accepted "
    "from|"
    "not accepting mail from your|refused your ip|due to ip|ip address has been|banned ip|host is blocked|"
    "your network|ip range|netblock|access from ip|ip address of your|connection rejected by policy|blocked for spam|"
    "connection refused by|refused connection from|we do not accept mail from|mail from your ip|"
    "rejected because of the ip|address is not allowed|mail from hosts|mail from host|host not allowed|"
    "unsolicited mail from your|ip not allowed|blocked by our|connection blocked|blocked address|blocked due to";
constexpr std::string_view kPtr =
    "reverse dns|rdns|ptr record|ptr records|no ptr|cannot find your hostname|cannot find your reverse|"
    "reverse lookup|reverse hostname|no reverse|ptr lookup|fcrdns|fix reverse|invalid ptr|missing ptr|"
    "cannot resolve your|helo command rejected host not found|unable to resolve your|resolve ptr|does not resolve|"
    "must have a valid ptr|not have a reverse|unverifyable sending";

constexpr std::string_view kAuthWords =
    "spf|dkim|dmarc|sender policy framework|domainkeys|unauthenticated|fails authentication|failed authentication|"
    "sender authentication|email authentication|authentication checks|authentication check|sender id|"
    "purported responsible address|not authorized to send|authentication results|bimi";
constexpr std::string_view kLoginWords =
    "smtp authentication|smtp auth|authentication required|authentication failed|authentication failure|"
    "must authenticate|authentication credentials|bad credentials|login failed|invalid credentials|invalid login|"
    "need to authenticate|not authenticated|username and password|auth required|authenticate first|"
    "authentication unsuccessful|certificate or login|offers no login|password is wrong|login was refused|log in first";

constexpr std::string_view kThrottled =
    "too many connections|too many concurrent|too many sessions|too many simultaneous|too many messages|too many "
    "emails|"
    "too many mails|too many errors|too many bad|too many invalid|too many requests|too many attempts|too many login|"
    "too much mail|too much email|too many email|rate limit|rate limited|rate limiting|rate "
    "limits|ratelimit*|throttl*|too fast|too quickly|"
    "slow down|connection limit|connections limit|maximum connections|connections exceeded|exceeded the rate|"
    "exceeded rate|message rate|receiving mail at a rate|sending rate|sending limit|sending quota|hourly limit|daily "
    "limit|daily quota|"
    "per hour|per minute|per second|per day|server busy|system busy|server is busy|too busy|service "
    "busy|overloaded|load too high|"
    "resources temporarily|limit exceeded|limits exceeded|exceeded the maximum number|maximum number of connections|"
    "excessive|connection frequency|volume|quota of messages|reached the limit|concurrent connections|"
    "temporarily deferred due to|unusual rate|maximum sending rate|concurrency limit|exceeded the allowable|"
    "exceeded your|not accepting connections|connection rate|recipient rate|too many mail";

constexpr std::string_view kGreylist =
    "greylist*|graylist*|grey list*|gray list*|grey listed|gray listed|greyd|postgrey|sqlgrey|first time sender|"
    "first contact|unknown triplet|please retry from the same|new sender|temporarily greylisted|tempfailed as unknown";

constexpr std::string_view kContent =
    "spam|spammy|spamassassin|unsolicited|ube|uce|virus|viruses|malware|phish*|infected|content rejected|message "
    "content|"
    "rejected by content|bulk mail|junk mail|attachment|attachments|banned|executable|potential security|suspicious|"
    "surbl|uribl|dbl spamhaus|url listed|uri listed|blocked url|contains a url|contains a link|spamcheck|content "
    "filter|"
    "headers too large|header error|invalid header|missing header|malformed|mime|illegal attachment|not rfc compliant|"
    "bad header|message headers|contains invalid|undesirable|filter|filtered|spam like|high spam|score";
constexpr std::string_view kPolicy =
    "policy|policies|prohibited|not accepted|administrative prohibition|access denied|denied|refused|rejected|"
    "you cannot send|not a member|not permitted|not allowed|blocked|relay access denied|relaying "
    "denied|reject|unacceptable|unwilling";
constexpr std::string_view kRelay =
    "relay access denied|relaying denied|unable to relay|do not relay|not permitted to relay|relay not permitted|"
    "relaying not permitted|relaying not allowed|no relaying|cannot relay|relay denied|insecure mail relay|"
    "relaying prohibited|relaying temporarily denied|not relay|not hosted here|this system is not configured to relay|"
    "relaying mail|mail relay denied|domain isnt in my list|not in my list";
constexpr std::string_view kSender =
    "sender address rejected|sender rejected|sender denied|sender address denied|bad sender|invalid sender|sender "
    "refused|"
    "sender domain|domain of sender|sender address domain|envelope sender|return path|sender verify failed|"
    "sender verification|sender unknown|senders domain|sender is unknown|mail from command|sender address verification|"
    "could not verify sender|callback|callout|bad address syntax in from|invalid from|from address|null sender|"
    "empty envelope|blocked sender|sender blocked|domain does not resolve|sender not|mail from domain|"
    "provide a valid from";
constexpr std::string_view kClosed =
    "internal senders|only accepts|accepts mail only|members only|recipient preferences|recipients preferences|"
    "does not accept mail from|not accept messages|not accept mail from|not allowed to send to|permission to send|"
    "permission to post|not permitted to send|isnt allowed to send|restricted|authenticated senders|"
    "only authorized|not on the list of allowed|refused by recipient|rejected by recipient|blocked by the recipient|"
    "doesnt accept mail|does not accept email|not accepting mail from|not accepting messages|not a member|"
    "user reject|recipient refused|delivery not authorized|not authorized";

constexpr std::string_view kDnsWords =
    "dns error|name service error|host or domain name not found|nxdomain|name resolution|domain not found|"
    "dns lookup|dns gives no|host name lookup|hostname lookup|no mx|name server|name servers|resolve mx|"
    "unresolvable|lookup failure|lookup of|dns query";
constexpr std::string_view kNoDomain =
    "host unknown|unknown host|host not found|domain name not found|no such domain|domain not found|unknown domain|"
    "invalid domain|domain does not exist|domain doesnt exist|illegal host domain|the domain|nonexistent domain|"
    "domain is not valid|name service error|nxdomain|bad domain|host does not exist|no such host|not a domain|"
    "find any host named|find a mail exchanger|all relevant mx records point to non existent hosts|is not a "
    "domain|unrouteable mail domain|"
    "cannot find any hosts|domain not exist";
constexpr std::string_view kNetworkWords =
    "connection refused|connection timed out|timed out|timeout|no route|unreachable|connection reset|lost connection|"
    "connection broke|no connection|couldnt establish|could not connect|unable to connect|connection dropped|"
    "connection closed|conversation with|no response|not responding|operation timed|failed to connect|"
    "cannot connect|didnt respond|did not respond|did not accept our requests|connection was dropped|"
    "connection died|connect to|network error|server closed the connection|closing the connection";
constexpr std::string_view kTlsWords =
    "starttls|must issue a starttls|tls required|encryption required|requires encryption|requires tls|ssl error|"
    "tls handshake|certificate|tls is required|tls negotiation|encryption needed|tls not available|mta sts|dane";
constexpr std::string_view kLoopWords =
    "mail loop|routing loop|loops back|loop back|mail forwarding loop|looping|hop count|too many hops|"
    "too many received|maximum hop|possible loop|loop detected|delivery loop|hops exceeded|exceeded hop";
constexpr std::string_view kExpiredWords =
    "message expired|delivery time expired|retry timeout exceeded|retry time not reached|unable to deliver this "
    "message after|"
    "queue expired|timed out waiting|message timed out|not been delivered for|could not be delivered for|"
    "too old|been in the queue|delivery timed out|gave up|given up|giving up after";
constexpr std::string_view kProtocolWords =
    "syntax error|command not recognized|unrecognized command|command unrecognized|bad sequence|improper sequence|"
    "out of sequence|not implemented|unrecognised command|protocol error|bad syntax|command rejected|"
    "need mail before|need rcpt|unknown command|invalid command|pipelin*|helo first|ehlo first|invalid helo";

constexpr ReplyRule kRules[] = {
    // 1. Lists and our address: whatever the code, these words tell whose fault it is. A listed *domain* or link is not
    //    the address.
    {"local-mailer", other, 5, {}, "couldnt create"},
    {"no-route", domain_no_mail, 5, "vague", "account or domain may not exist"},
    {"listed-domain", content, 0, {}, "dbl spamhaus|surbl|uribl|url listed|uri listed|dbl"},
    {"greylist-words", greylisted, 4, {}, kGreylist},
    {"format", content, 5, "vague", "duplicate header"},
    {"sender-words", sender_fault, 5, "vague", "from an address that has been blacklisted"},
    {"listed", ip_blocked, 5, "vague x.1.3 x.7.4 x.7.7 x.7.8 x.7.5 x.5.4", kListNames},
    {"listed", ip_blocked, 4, "vague", kListNames},
    {"listed", ip_blocked, 5, "none x.0.0 x.1.0 x.2.0 x.3.0 x.5.0 x.7.0 x.7.1 x.7.9 x.1.8", kListNames},
    {"ptr", ip_blocked, 0, "vague x.7.25 x.1.8", kPtr},
    {"ptr-code", ip_blocked, 0, "x.7.25"},
    {"login-code", sender_auth, 534},
    {"login-code", sender_auth, 535},
    {"disabled-code", recipient_disabled, 525},
    {"disabled-code", recipient_disabled, 0, "x.7.13"},
    {"starttls", tls, 530, {}, kTlsWords},
    {"login-code", sender_auth, 530},
    {"null-mx", domain_no_mail, 521},
    {"null-mx", domain_no_mail, 556},
    {"too-many-logins", throttled, 4, "vague", "too many login"},

    // 2. Signing and login, where the code says little.
    {"signing", sender_auth, 0, "vague x.7.26 x.7.20 x.7.21 x.7.22 x.7.23 x.7.24 x.1.8", kAuthWords},
    {"login", sender_auth, 0, "vague x.7.8 x.7.9 x.5.1", kLoginWords},
    {"relay-denied", policy, 0, "vague x.4.1 x.1.2", kRelay},
    {"throttled-words", throttled, 4, "vague", kThrottled},
    {"address-words", ip_blocked, 0, "x.7.0 x.7.1 x.7.9 none x.0.0", kAddressWords},

    // 3. Enhanced codes that say it, with the words that correct them.
    {"split", envelope_split, 0, "x.5.3", {}, {}, kAny, true},
    {"split-words", envelope_split, 0, {}, "too many recipients", {}, kAny, true},
    {"no-such-domain", domain_no_mail, 0, "x.1.2 x.4.4", kNoDomain},
    {"no-such-domain", domain_no_mail, 5, "vague x.4.3",
     "host unknown|unknown host|no such domain|domain name not found|"
     "domain does not exist|domain is not reachable|nonexistent domain|unrouteable mail domain|cannot find any "
     "hosts|unknown domain"},
    {"full", mailbox_full, 0, "x.1.1 x.2.2 x.3.0", kFull},
    {"loop-words", loop, 0, "x.4.6 vague x.4.14 none", kLoopWords},
    {"throttled-words", throttled, 0, "x.1.1 x.2.1", "rate limited|rate limit|too many connections"},
    {"closed-words", recipient_policy, 0, "x.1.1", "recipient preferences|recipients preferences"},
    {"unknown", recipient_unknown, 0, "x.1.1 x.1.2 x.1.3 x.1.4 x.7.17"},
    {"unknown-words", recipient_unknown, 0, "x.2.1 x.1.6",
     "user unknown|unknown user|no such user|does not exist|doesnt exist|user not found|unknown recipient|invalid "
     "user"},
    {"moved", recipient_disabled, 0, "x.1.6"},
    {"disabled", recipient_disabled, 0, "x.2.1"},
    {"null-mx", domain_no_mail, 0, "x.1.10", "null mx"},
    {"unknown-words", recipient_unknown, 0, "x.1.10", kUnknown},
    {"null-mx", domain_no_mail, 0, "x.1.10 x.7.18"},
    {"sender", sender_fault, 0, "x.1.7 x.1.8 x.7.27"},
    {"too-big", too_big, 0, "x.2.3 x.3.4"},
    {"too-big-words", too_big, 0, "x.2.2 x.3.1", "message size|message too large|message too big|size limit"},
    {"full-code", mailbox_full, 0, "x.2.2 x.3.1"},
    {"dns-code", dns, 0, "x.4.3"},
    {"congestion", throttled, 0, "x.4.5 x.7.28", {}, {}, kAny, true},
    {"loop-code", loop, 5, "x.4.6"},
    {"expired-words", expired, 0, "x.4.2 x.4.1", "message expired|retry timeout exceeded"},
    {"network-code", network, 0, "x.4.1 x.4.2 x.4.4 x.4.6"},
    {"expired-code", expired, 0, "x.4.7"},
    {"tls-code", tls, 0, "x.7.4 x.7.5 x.7.10 x.7.11 x.7.29"},
    {"signing-code", sender_auth, 0, "x.7.20 x.7.21 x.7.22 x.7.23 x.7.24 x.7.26 x.7.8"},
    {"closed-code", recipient_policy, 0, "x.7.2 x.2.4"},
    {"policy-code", policy, 0, "x.7.38 x.7.30 x.7.19"},
    {"content-code", content, 0, "x.6.1 x.6.2 x.6.3 x.6.5 x.6.6 x.6.7 x.7.6 x.7.7"},

    // 4. Words, where the code says little or there is none.
    {"full-words", mailbox_full, 0, "vague", "mailbox is full|mailbox full|over quota|quota exceeded"},
    {"expired-words", expired, 0, "vague", kExpiredWords},
    {"starttls-words", tls, 0, "vague", kTlsWords},
    {"too-big-words", too_big, 0, "vague", "mail size limit|message size limit|maximum message size"},
    {"throttled-words", throttled, 0, "vague x.2.0", kThrottled},
    {"too-big-words", too_big, 0, "vague", kTooBig},
    {"full-words", mailbox_full, 0, "vague", kFull},
    {"sender-words", sender_fault, 0, "vague", kSender},
    {"no-mail-words", domain_no_mail, 5, "vague",
     "null mx|doesnt receive email|does not accept mail|takes no mail|no mx record found|indicated no smtp service"},
    {"disabled-words", recipient_disabled, 0, "vague", kDisabled},
    {"closed-words", recipient_policy, 5, "x.7.1 x.7.0 x.7.9 x.2.0 none x.0.0", kClosed},
    // 7.1 is a policy's code: a filter that says "unknown" for a user it does not want.
    {"unknown-by-policy", recipient_policy, 5, "x.7.1", "user unknown|unknown user"},
    {"unknown-words", recipient_unknown, 0, "vague", kUnknown},
    {"moved", recipient_disabled, 5, "vague", kMoved},
    {"unknown-words", recipient_unknown, 5, "vague", "unknown|unavailable account", "user|account|mailbox|recipient"},
    {"no-mail-words", domain_no_mail, 0, "vague", "returned null mx"},
    {"dns-words", dns, 0, "vague", kDnsWords},
    {"network-words", network, 0, "vague", kNetworkWords},
    {"content-words", content, 5, "vague", kContent},
    {"protocol-words", protocol, 5, "vague", kProtocolWords},
    {"content-code", content, 0, "x.6.0"},
    {"local-mailer", other, 5, "vague", "mailer error|internal system error"},
    {"address-words", ip_blocked, 5, "vague", "smtp server of your isp|mail server of your isp|is an open relay"},
    {"closed-code", recipient_policy, 5, "x.7.1", "internal|sender"},
    {"policy-words", policy, 0, "x.7.0 x.7.1 x.7.9", kPolicy},
    {"policy-words", policy, 5, "vague", kPolicy},
    {"throttled-code", throttled, 4, "x.7.0 x.3.2"},
    {"network-words", network, 0, "vague", "host not reachable"},
    {"expired-words", expired, 0, "vague x.1.9",
     "envelope expired|after multiple retries|in the queue too long|could not deliver for the last"},

    // 5. Bare codes.
    {"protocol-code", protocol, 0, "x.5.1 x.5.2 x.5.4 x.5.5"},
    {"protocol-code", protocol, 500},
    {"protocol-code", protocol, 501},
    {"protocol-code", protocol, 502},
    {"protocol-code", protocol, 503},
    {"protocol-code", protocol, 504},
    {"closing", throttled, 421},
    {"full-code", mailbox_full, 452, "none"},
    {"full-code", mailbox_full, 552, "none"},
    {"moved", recipient_disabled, 551, "none"},
    {"policy-code", policy, 5, "x.7.0 x.7.1 x.7.9"},
};

}  // namespace

std::span<const ReplyRule> reply_rules() { return kRules; }

}  // namespace posthouse::bounce
