// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn error_remove_folio(mapping: &Mapping<Self>, folio: &Locked) -> Result {
        folio.complete(); //~ error[E0599]
        mapping.remove_failed(folio)
    }
}
