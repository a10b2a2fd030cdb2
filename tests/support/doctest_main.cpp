// The one translation unit that compiles doctest's own main: it costs three seconds, so it is built once.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
