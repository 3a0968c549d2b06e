// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn keep(_folio: &'static Locked) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn release_folio(_mapping: &Mapping<Self>, folio: &Locked, _gfp: Flags) -> bool {
        keep(folio); //~ error[E0521]
        folio.is_dirty()
    }
}
