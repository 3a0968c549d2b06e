// SPDX-License-Identifier: GPL-2.0
//
// ->is_partially_uptodate() gets the mapping of the folio from its caller.
//
// Files: \w*_is_partially_uptodate
// Options: --no-includes --max-width 80

virtual patch

@@
typedef bool;
symbol mapping;
identifier fn =~ "_is_partially_uptodate$";
identifier fl, from, count;
@@
 bool fn(
+	struct address_space *mapping,
	struct folio *fl, size_t from, size_t count)
 { ... }

@@
identifier fn =~ "_is_partially_uptodate$";
identifier from, count;
@@
 bool fn(
+	struct address_space *,
	struct folio *, size_t from, size_t count);
