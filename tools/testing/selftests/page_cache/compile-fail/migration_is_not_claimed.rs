// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn migrate_folio<'a>(
        _mapping: &'a Mapping<Self>,
        migration: Migration<'a>,
    ) -> Result<Migrated<'a>> {
        migration.mode();
        Ok(Migrated(core::marker::PhantomData)) //~ error[E0423] instead of: migration.run()
    }
}
