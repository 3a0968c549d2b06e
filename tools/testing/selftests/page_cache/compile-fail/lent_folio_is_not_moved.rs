// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn invalidate_folio(_mapping: &Mapping<Self>, folio: &Locked, _range: core::ops::Range<usize>) {
        folio.index();
        drop(*folio); //~ error[E0507]
    }
}
