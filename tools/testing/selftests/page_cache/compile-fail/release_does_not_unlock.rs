// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn release_folio(_mapping: &Mapping<Self>, folio: &Locked, _gfp: Flags) -> bool {
        drop(LockedFolio::from_locked(folio)); //~ error[E0133]
        folio.ref_count() == 2
    }
}
