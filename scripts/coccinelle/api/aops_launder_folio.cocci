// SPDX-License-Identifier: GPL-2.0
//
// ->launder_folio() gets the mapping of the folio from its caller.
//
// Files: \w*launder_folio
// Options: --no-includes --max-width 80

virtual patch

@ops@
identifier ops, fn;
@@
 struct address_space_operations ops = {
	.launder_folio = fn,
 };

@@
symbol mapping;
identifier ops.fn, fo;
@@
 int fn(
+	struct address_space *mapping,
	struct folio *fo)
 { ... }

@@
identifier ops.fn;
@@
 int fn(
+	struct address_space *,
	struct folio *);

// Who has been told the mapping tells it.
@@
identifier ops.fn;
identifier user, m;
expression fo;
@@
 user(..., struct address_space *m, ...)
 {
 <...
-fn(fo)
+fn(m, fo)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier ops.fn;
expression fo;
@@
-fn(fo)
+fn(fo->mapping, fo)
