#include "tests/transcripts/imap_coverage.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "protocols/imap/capability.h"
#include "protocols/imap/fetch.h"
#include "protocols/imap/search.h"
#include "protocols/imap/search_return.h"
#include "protocols/imap/sort.h"
#include "server/imap/command.h"
#include "server/imap/status.h"
#include "tests/support/json.h"
#include "tests/transcripts/transcript.h"

namespace posthouse::test {

namespace {

using Names = std::set<std::string, std::less<>>;

struct Elsewhere {
    std::string_view capability;
    std::string_view file;
    std::string_view mention;  ///< how it names the capability
};
constexpr auto kElsewhere = std::to_array<Elsewhere>({
    {"INPROGRESS", "tests/unit/server/imap/progress_test.cpp", "INPROGRESS"},
    {"AUTH=SCRAM-SHA-256", "tests/interop/login_test.py", "\"SCRAM-SHA-256\""},
    {"AUTH=SCRAM-SHA-256-PLUS", "tests/interop/login_test.py", "\"SCRAM-SHA-256-PLUS\""},
    {"AUTH=OAUTHBEARER", "tests/interop/oidc_test.py", "\"OAUTHBEARER\""},
    {"AUTH=XOAUTH2", "tests/interop/oidc_test.py", "\"XOAUTH2\""},
});

/// Of mechanisms, and of what no row stands for.
constexpr std::pair<std::string_view, std::string_view> kFurtherRfcs[] = {
    {"APPENDLIMIT", "7889"}, {"LOGINDISABLED", "3501"}, {"AUTH=PLAIN", "3501"}, {"AUTH=LOGIN", "3501"}};

struct NotRun {
    std::string_view id;
    std::string_view why;
};
/// Hard cases that no transcript is about.
constexpr std::array<NotRun, 0> kNotRun = {};

class Coverage {
 public:
    explicit Coverage(const std::string& directory) {
        for (const auto& file : std::filesystem::directory_iterator(directory)) {
            if (file.path().extension() != ".txt") continue;
            const auto transcript = load_transcript(file.path().string());
            if (!transcript) {
                fault(transcript.error().context);
                continue;
            }
            const std::string text = read_whole_file(file.path().string());
            for (const std::string& name : transcript->covers) texts_[name].push_back(text);
        }
    }

    int faults() const { return faults_; }
    bool covers(std::string_view name) const { return texts_.contains(name); }
    void fault(const std::string& text) {
        std::fprintf(stderr, "%s\n", text.c_str());
        ++faults_;
    }
    void want(const std::string& kind, std::string_view name) {
        std::string wanted(name);
        std::replace(wanted.begin(), wanted.end(), ' ', '_');
        wanted = kind + wanted;
        if (!covers(wanted)) fault("no transcript covers " + wanted);
    }
    /// `rfc`: its number, perhaps with a section behind it.
    void want_capability(std::string_view name, std::string_view rfc) {
        announced_.emplace(name);
        if (std::ranges::find(kElsewhere, name, &Elsewhere::capability) != kElsewhere.end()) return;
        const std::string wanted = "CAPABILITY:" + std::string(name);
        const auto at = texts_.find(wanted);
        if (at == texts_.end()) return fault("no transcript covers " + wanted);
        const std::string cited = "RFC " + std::string(rfc.substr(0, rfc.find(' ')));
        const auto cites = [&](const std::string& text) { return text.contains(cited); };
        if (std::ranges::none_of(at->second, cites)) fault("no transcript that covers " + wanted + " cites " + cited);
    }
    void check_elsewhere() {
        for (const Elsewhere& one : kElsewhere) {
            const std::string name(one.capability);
            if (covers("CAPABILITY:" + name)) fault(name + " has a transcript, and is said to have none");
            const std::string file(one.file);
            if (!read_whole_file(file).contains(one.mention)) fault(file + " does not mention " + name);
            announced_.emplace(name);
        }
    }
    /// After all that is announced was asked for.
    void check_all_known() {
        for (const auto& row : imap::capabilities()) {
            if (!announced_.contains(row.name)) fault("nothing asks for a transcript of " + std::string(row.name));
        }
    }
    /// `ids`: of the suite.
    void check_hard_cases(const Names& ids) {
        for (const std::string& id : ids) {
            const auto row = std::ranges::find(kNotRun, id, &NotRun::id);
            if (row == kNotRun.end() && !covers(id)) fault("no transcript covers " + id + ", nor is said why");
            if (row != kNotRun.end() && covers(id)) fault(id + " is run, and said not to be: " + std::string(row->why));
        }
        for (const NotRun& row : kNotRun) {
            if (!ids.contains(row.id)) fault("the suite has no " + std::string(row.id));
        }
        for (const auto& [name, texts] : texts_) {
            if (is_hard_case(name) && !ids.contains(name)) fault("the suite has no " + name);
        }
    }

 private:
    static bool is_hard_case(std::string_view name) {
        return name.size() == 3 && name.front() == 'I' && ascii::is_digit(name[1]) && ascii::is_digit(name[2]);
    }

    std::map<std::string, std::vector<std::string>, std::less<>> texts_;  // of the transcripts, by what they cover
    Names announced_;
    int faults_ = 0;
};

void check_capabilities(Coverage& coverage) {
    const auto want_all = [&](std::string_view list, std::string_view rfc) {
        for (Cursor words(list); !words.at_end(); words.take(' ')) {
            coverage.want_capability(words.take_until(' '), rfc);
        }
    };
    for (const auto& rows : server::imap::all_commands()) {
        for (const auto& row : rows) want_all(row.capability, row.rfc);
    }
    for (const auto& extension : server::imap::extensions()) want_all(extension.capability, extension.rfc);
    for (const auto& [name, rfc] : kFurtherRfcs) coverage.want_capability(name, rfc);
    coverage.check_elsewhere();
    coverage.check_all_known();
}

void check_rows(Coverage& coverage) {
    for (const auto& rows : server::imap::all_commands()) {
        for (const auto& row : rows) coverage.want("", row.verb);
    }
    for (const auto& item : imap::fetch_items()) coverage.want("FETCH:", item.name);
    for (const auto& key : imap::search_keys()) coverage.want("SEARCH:", key.name);
    for (const auto& option : imap::search_return_options()) coverage.want("SEARCH_RETURN:", option.name);
    for (const auto& key : imap::sort_keys()) coverage.want("SORT_KEY:", key.name);
    for (const auto& item : server::imap::status_items()) coverage.want("STATUS:", item.name);
}

void check_suite(Coverage& coverage) {
    const std::string folder = conformance_folder();
    if (folder.empty()) {
        std::printf("skipped: no conformance data, so that nobody knows which hard cases there are\n");
        return;
    }
    Names ids;
    const std::string suite = read_whole_file(folder + "/hard-cases/cases.jsonl");
    for (Cursor lines(suite); !lines.at_end(); lines.take('\n')) {
        const auto line = parse_json(lines.take_until('\n'));
        if (!line) return coverage.fault("cases.jsonl: " + line.error().context);
        if ((*line)["proto"].text == "imap") ids.insert((*line)["id"].text);
    }
    if (ids.empty()) coverage.fault("cases.jsonl has no case of IMAP");
    coverage.check_hard_cases(ids);
}

}  // namespace

int check_imap_coverage(const std::string& directory) {
    Coverage coverage(directory);
    check_rows(coverage);
    check_capabilities(coverage);
    check_suite(coverage);
    return coverage.faults();
}

}  // namespace posthouse::test
