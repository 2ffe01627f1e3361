/** Tenant tokens are a wire format: they live in `api`, where the embedded engine reads them too. */
export * from '../api/tenant-token.ts'
