// SPDX-License-Identifier: GPL-2.0
//
// ->is_dirty_writeback() gets the mapping of the folio from its caller.
//
// Files: \w*_check_dirty_writeback
// Options: --no-includes --max-width 80

virtual patch

@@
typedef bool;
symbol mapping;
identifier fn =~ "^\(buffer\|nfs\)_check_dirty_writeback$";
identifier fl, dirty, writeback;
@@
 void fn(struct folio *fl, bool *dirty, bool *writeback)
 {
 <...
-struct address_space *mapping = fl->mapping;
 ...>
 }

@@
symbol mapping;
identifier fn =~ "^\(buffer\|nfs\)_check_dirty_writeback$";
identifier fl, dirty, writeback;
@@
 void fn(
+	struct address_space *mapping,
	struct folio *fl, bool *dirty, bool *writeback)
 { ... }

@@
symbol mapping;
identifier fn =~ "^\(buffer\|nfs\)_check_dirty_writeback$";
identifier fl, dirty, writeback;
@@
 void fn(
+	struct address_space *mapping,
	struct folio *fl, bool *dirty, bool *writeback);
