#pragma once
/// protocols/mime/html_text: the words of an HTML text (RFC 2854), for searching: no parser, one pass, linear.
///
/// Tags and comments go, script and style with all they hold; tags that begin a new line or cell become a blank, others
/// nothing ("<b>post</b>house" is one word); character references become their characters; runs of blanks become one;
/// soft hyphens and other invisible hints for breaking lines go.
/// What only looks like a tag stays text. Threads: pure.
#include <string>
#include <string_view>

namespace posthouse::mime {

/// `html` is UTF-8; so is the result.
std::string html_text(std::string_view html);

}  // namespace posthouse::mime
