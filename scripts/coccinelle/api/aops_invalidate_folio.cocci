// SPDX-License-Identifier: GPL-2.0
//
// ->invalidate_folio() and folio_invalidate() get the mapping of the folio from
// their caller.
//
// Files: \w*_invalidate_folio|folio_invalidate
// Options: --no-includes --max-width 80

virtual patch

@@
symbol mapping;
identifier fn =~ "_invalidate_folio$";
identifier fl, offset, length;
type t;
@@
 t fn(
+	struct address_space *mapping,
	struct folio *fl, size_t offset, size_t length)
 { ... }

@@
symbol mapping;
identifier fn =~ "_invalidate_folio$\|^folio_invalidate$";
identifier fl, offset, length;
@@
 void fn(
+	struct address_space *mapping,
	struct folio *fl, size_t offset, size_t length);

// Who has been told the mapping tells it.
@@
identifier fn, m, fl;
identifier callee =~
 "^\(block\|netfs\|__ext4.*\)_invalidate_folio$\|^folio_invalidate$";
expression offset, length;
@@
 fn(..., struct address_space *m, ..., struct folio *fl, ...)
 {
 <...
-callee(fl, offset, length)
+callee(m, fl, offset, length)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier callee =~
 "^\(block\|netfs\|__ext4.*\)_invalidate_folio$\|^folio_invalidate$";
expression fl, offset, length;
@@
-callee(fl, offset, length)
+callee(fl->mapping, fl, offset, length)
