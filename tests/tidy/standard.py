"""Which header of the standard library, and of fmt, a name comes from. The sanitizer trees read a precompiled header, which
hides what a file forgot to include; of the tests only they are compiled in a whole run. This finds most of it: the names in
use of each header, which a file may also have through a header of the program, or through one that brings it along.
"""
import re

ALGORITHMS = ("sort find find_if find_if_not any_of all_of none_of count count_if copy copy_if transform max_element min min_element "
              "max clamp minmax fill reverse rotate unique equal equal_range lower_bound upper_bound binary_search search "
              "remove_if stable_sort partial_sort nth_element partition for_each replace shuffle set_difference "
              "set_intersection set_union is_sorted mismatch starts_with contains replace_if copy_n "
              "lexicographical_compare").split()
# header: (names behind std::, headers that bring it along)
STANDARD = {
    "algorithm": (ALGORITHMS + ["ranges::" + name for name in ALGORITHMS], ""),
    "array": ("array to_array", ""),
    "atomic": (r"atomic\w*", ""),
    "charconv": ("from_chars to_chars", ""),
    "chrono": ("chrono", ""),
    "condition_variable": (r"condition_variable\w*", ""),
    "coroutine": ("coroutine_handle", ""),
    "cstdint": (r"u?int(?:8|16|32|64)_t", "atomic charconv chrono cinttypes memory random string"),
    "cstring": ("memcpy memcmp memset memmove strlen strerror strcmp", ""),
    "deque": ("deque", ""),
    "expected": ("expected unexpected", ""),
    "filesystem": ("filesystem", ""),
    "fstream": ("fstream ifstream ofstream", ""),
    "functional": ("function move_only_function hash less greater identity", "map set"),
    "limits": ("numeric_limits", "chrono random"),
    "map": ("map multimap", ""),
    "memory": ("unique_ptr shared_ptr weak_ptr make_unique make_shared enable_shared_from_this", ""),
    "mutex": ("mutex lock_guard unique_lock scoped_lock once_flag call_once", "condition_variable shared_mutex"),
    "optional": ("optional nullopt", ""),
    "random": (r"mt19937\w* random_device uniform_int_distribution", ""),
    "set": ("set multiset", ""),
    "span": ("span", ""),
    "sstream": ("stringstream istringstream ostringstream", ""),
    "string": ("string to_string stoi stol stoul stoll stoull getline", "filesystem fmt/format.h fstream iostream sstream stdexcept"),
    "string_view": ("string_view", "filesystem string"),
    "shared_mutex": ("shared_mutex shared_lock", ""),
    "thread": ("thread jthread this_thread", ""),
    "unordered_map": ("unordered_map unordered_multimap", ""),
    "unordered_set": ("unordered_set unordered_multiset", ""),
    "utility": ("exchange pair as_const to_underlying move forward swap",
                "algorithm array chrono deque expected fmt/format.h functional map memory mutex optional set span string "
                "string_view thread tuple unordered_map unordered_set variant vector"),
    "variant": ("variant visit get_if holds_alternative monostate", ""),
    "vector": ("vector", ""),
}


def words(text):
    return text.split() if isinstance(text, str) else text


PATTERNS = {header: (re.compile(r"\bstd::(?:%s)\b" % "|".join(words(names))), {header, *words(others)})
            for header, (names, others) in STANDARD.items()}
PATTERNS["fmt/format.h"] = (re.compile(r"\bfmt::(?:format|print|format_to)\b"),
                            {"fmt/format.h", "fmt/chrono.h", "fmt/core.h", "fmt/args.h", "fmt/ranges.h"})


def missing(text, included):
    """(place, header) of the first name of each header that none of `included` brings."""
    for header, (pattern, enough) in PATTERNS.items():
        if included.isdisjoint(enough):
            match = pattern.search(text)
            if match:
                yield match.start(), header
