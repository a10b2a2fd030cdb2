#pragma once
/// tests/transcripts/imap_coverage: what the transcripts of IMAP must be about, and which are missing.
///   rows           of the tables of commands, FETCH items, SEARCH keys and their like: some transcript names each
///   capabilities   some transcript names each, and the RFC that it comes from; what cannot be a dialogue of text
///                  (nonces, tokens, long waiting) has another test, which exists and names it
///   hard cases     of conformance/hard-cases: each that is of IMAP is named, or stands in a list with the reason why
///                  not
#include <string>

namespace posthouse::test {

/// Prints a line for each fault, for the transcripts in `directory` (the working directory is the project's); 0: none.
int check_imap_coverage(const std::string& directory);

}  // namespace posthouse::test
